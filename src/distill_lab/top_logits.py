"""The largest logits of each unit, and the mass of all others at chosen temperatures.

A unit is whatever has logits of its own: a row, later a token. With k values and
`log(sum of exp(z/T))` over the other classes, the distribution over k + 1 buckets (each kept class,
and all others together) is exact at those T. That sum is kept for the other classes alone, not for
all: from the whole, the mass outside would be 1 - (sum of k probabilities), of which float32 leaves
nothing below 1e-6, and a divergence takes its logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill_lab.errors import ConfigError

_PIECE = 2**22  # logits that are reduced at once


@dataclass(frozen=True)
class TopK:
    """What is kept of a teacher's logits.

    Attributes:
        k: How many, the largest.
        temperatures: At which the mass of the others is kept.
    """

    k: int
    temperatures: tuple[float, ...]

    def about(self, classes: int) -> str:
        """Return what is kept of so many logits, for people."""
        at = ", ".join(f"{t:g}" for t in self.temperatures)
        return f"{self.k} largest of {classes:,} logits" + (f", T = {at}" if at else "")


@dataclass(frozen=True)
class TopLogits:
    """The largest logits, before any temperature, and what all others weigh.

    Attributes:
        values: float32 `[units, k]`, the largest first.
        indices: Their classes, int64 `[units, k]`.
        rest: For each T, `log(sum of exp(z/T))` over all other classes, float32 `[units]`; -inf
            where there are none.
        classes: How many there are in all.
    """

    values: Tensor
    indices: Tensor
    rest: Mapping[float, Tensor]
    classes: int

    def rest_at(self, temperature: float) -> Tensor:
        """Return `rest` at a temperature.

        Raises:
            ConfigError: If it is not kept.
        """
        if temperature not in self.rest:
            kept = ", ".join(f"{t:g}" for t in self.rest)
            raise ConfigError(
                f"teacher.cache_temperatures=[{kept}]: the objective compares at T ="
                f" {temperature:g}, which is not among them; add it"
            )
        return self.rest[temperature]

    def outside(self, temperature: float) -> Tensor:
        """Return the probability of all classes that are not kept, float32 `[units]`."""
        inside = torch.logsumexp(self.values / temperature, dim=-1)
        return torch.sigmoid(self.rest_at(temperature) - inside)


def top_logits(logits: Tensor, top: TopK) -> TopLogits:
    """Return what is kept of logits.

    Args:
        logits: `[units, classes]`.
        top: How many, and at which temperatures; k is at most the number of classes.
    """
    step = max(1, _PIECE // logits.shape[-1])
    indices = torch.cat([part.float().topk(top.k).indices for part in logits.split(step)])
    return at_indices(logits, indices, top.temperatures)


def at_indices(logits: Tensor, indices: Tensor, temperatures: Sequence[float]) -> TopLogits:
    """Return the logits of chosen classes, and what all others weigh.

    Args:
        logits: `[units, classes]`.
        indices: int64 `[units, k]`.
        temperatures: At which the others are weighed.
    """
    step = max(1, _PIECE // logits.shape[-1])
    pieces = list(zip(logits.split(step), indices.split(step), strict=True))
    values = torch.cat([part.float().gather(-1, chosen) for part, chosen in pieces])
    others = [part.float().scatter(-1, chosen, float("-inf")) for part, chosen in pieces]
    rest = {t: torch.cat([(part / t).logsumexp(-1) for part in others]) for t in temperatures}
    return TopLogits(values, indices, rest, logits.shape[-1])
