"""The hard loss: what the labels alone teach."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.by_rows import by_rows


@by_rows
def hard_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return cross-entropy, or squared error for float targets, summed over the rows.

    Args:
        logits: `[batch, labels]`; `[batch, 1]` for regression.
        labels: int64 class ids or float targets, `[batch]`.

    Returns:
        A scalar in float32; divide by the batch size for the mean.
    """
    logits = logits.float()
    if labels.is_floating_point():
        ours = logits[:, 0]
        # A target that is not known is met: 0 times nan would be a gradient of nan.
        targets = torch.where(labels.isnan(), ours.detach(), labels.float())
        return F.mse_loss(ours, targets, reduction="sum")
    return F.cross_entropy(logits, labels, reduction="sum")  # rows of label -100 are left out
