"""The answer of several teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Average = Literal["probabilities", "logits"]


def average_logits(logits: Sequence[Tensor], weights: Sequence[float], average: Average) -> Tensor:
    """Return the logits of an ensemble's answer.

    "probabilities" is the arithmetic mean of the members' distributions, "logits" their geometric
    mean (Hinton et al. 2015, arXiv 1503.02531, section 2). The former is taken at T = 1 and then
    softened like any other teacher's: so the answers are raw logits that serve every temperature.

    Args:
        logits: Each member's, `[rows, labels]`; of a single label (regression) the mean is taken.
        weights: One for each member, summing to 1.
        average: "probabilities" or "logits".

    Returns:
        float32 `[rows, labels]`; of probabilities, their logarithms.
    """
    stacked = torch.stack([each.float() for each in logits])
    shares = torch.tensor(weights, dtype=stacked.dtype, device=stacked.device)[:, None, None]
    if average == "logits" or stacked.shape[-1] == 1:
        return (shares * stacked).sum(dim=0)
    return torch.logsumexp(stacked.log_softmax(dim=-1) + shares.log(), dim=0)
