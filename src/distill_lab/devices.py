"""Sending to a device, and waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def onto(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device, without waiting for what it has yet to do where that is safe.

    On MPS it is not (https://github.com/pytorch/pytorch/issues/83015).
    """
    return values.to(device, non_blocking=device.type == "cuda")


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
