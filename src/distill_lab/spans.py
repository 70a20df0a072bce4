"""Logits of where an answer begins and ends: two for each token of a row.

A row gives two answers, its start and its end, whose classes are the tokens of the row.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = -1e9  # of padding: no probability at any temperature, and yet a finite logarithm


def span_logits(start: Tensor, end: Tensor, mask: Tensor) -> Tensor:
    """Return both ends' logits as answers; padding is none of their classes.

    Whatever gives logits, student or teacher, live or stored, is masked here and in the same way,
    so that two distributions always have the same classes.

    Args:
        start: `[batch, length]`.
        end: `[batch, length]`.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.

    Returns:
        float32 `[2 * batch, length]`: start and end of the first row, of the second, ...
    """
    both = torch.stack([start, end], dim=1).float()
    return both.masked_fill(mask[:, None, :] == 0, _NEVER).flatten(0, 1)


def of_tokens(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the logits of each token, `[tokens, 2]`, rows one after another without padding.

    Args:
        logits: From `span_logits`.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
    """
    return logits.view(len(mask), 2, -1).transpose(1, 2)[mask.bool()]


def best_ends(logits: Tensor, asked: Tensor, count: int) -> Tensor:
    """Return the likeliest tokens at which each row's answer begins and ends.

    Args:
        logits: From `span_logits`.
        asked: Where an answer may lie, bool `[batch, length]`.
        count: How many, the likeliest first; rows with fewer have some of logit -inf.

    Returns:
        float32 `[batch, 2, 1 + count, 2]`: for start and end, a token's place in the row and its
        logit. The first of them is the row's first token, which stands for "no answer".
    """
    both = logits.view(len(asked), 2, -1).float()
    none = torch.stack([torch.zeros_like(both[..., 0]), both[..., 0]], dim=-1)[:, :, None]
    allowed = both.masked_fill(~asked[:, None, :], float("-inf"))
    values, places = allowed.topk(min(count, allowed.shape[-1]), dim=-1)
    found = torch.stack([places.to(values.dtype), values], dim=-1)
    missing = count - found.shape[2]
    filler = found.new_tensor([0.0, float("-inf")]).expand(*found.shape[:2], missing, 2)
    return torch.cat([none, found, filler], dim=2)
