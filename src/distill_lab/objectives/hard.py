"""The hard loss: what the labels alone teach."""

from __future__ import annotations

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
        return F.mse_loss(logits[:, 0], labels.float(), reduction="sum")
    return F.cross_entropy(logits, labels, reduction="sum")
