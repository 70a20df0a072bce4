"""What is known of a model that is trained: its answers, its metrics, its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Scores:
    """A model's answers on one split and the metrics computed from them.

    Attributes:
        metrics: Name to value; the main metric stands first.
        answers: What the task keeps of them (see `Task.kept`), `[rows, ...]`, for each evaluation
            set by name.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    answers: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A model of a comparison: what it scores, what it took, and which one it is.

    Attributes:
        scores: Metrics and answers on the evaluation sets.
        cost: Parameters, and what its training took (see `meter.Cost`).
        fingerprint: Changes with what determines it: weights, or all that they come from.
    """

    scores: Scores
    cost: Mapping[str, float | int | None]
    fingerprint: str
