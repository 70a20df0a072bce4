"""How well words are predicted, row by row."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.types import Batch

_CHUNK = 2**24  # logits whose cross-entropy is taken at once
WORST = 700.0
"""Nats a token: the exponential of more is no float."""


def token_scores(logits: Tensor, batch: Batch) -> Tensor:
    """Return of each row the sum of the cross-entropies, the hits, and the tokens asked.

    In nats; float64 `[rows, 3]`.

    Args:
        logits: Of the tokens that are asked, `[tokens, words]`.
        batch: Tells which row each belongs to.
    """
    assert batch.asked is not None
    step = max(1, _CHUNK // logits.shape[-1])
    pairs = list(zip(logits.split(step), batch.labels.split(step), strict=True))
    losses = torch.cat([F.cross_entropy(x.float(), y, reduction="none") for x, y in pairs])
    hits = torch.cat([x.argmax(dim=-1) == y for x, y in pairs])
    both = [side.cpu().double() for side in (losses, hits)]  # not every device has float64
    each = torch.stack([*both, torch.ones_like(both[0])], dim=1)
    owners = torch.arange(len(batch)).repeat_interleave(batch.asked.sum(dim=1).cpu())
    return each.new_zeros(len(batch), 3).index_add_(0, owners, each)


def perplexity(loss: float, count: float) -> float:
    """Return the exponential of the mean cross-entropy; finite for a network that has diverged.

    Args:
        loss: Sum over the tokens, in nats.
        count: Tokens.
    """
    return math.exp(min(loss / count, WORST) if math.isfinite(loss) else WORST)
