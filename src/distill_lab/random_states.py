"""The random states that a training draws from, taken and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of Python, NumPy, torch and the accelerator's devices, as plain data.

    It is what `torch.load(weights_only=True)` reads.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, digits, kept = random.getstate()
    states: dict[str, Any] = {
        "python": [version, list(digits), kept],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore(states: dict[str, Any]) -> None:
    """Put the states back.

    Args:
        states: Of `random_states`; those of devices that are not there are left out.
    """
    version, digits, kept = states["python"]
    random.setstate((version, tuple(digits), kept))
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
