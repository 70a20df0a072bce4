"""The vocabulary of all rooms: what a task asks, what a batch holds, what a model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor
from transformers import PretrainedConfig


@dataclass(frozen=True)
class Problem:
    """What is to be learned.

    Attributes:
        kind: "classification" (one label of several) or "regression" (one number).
        labels: Label names in the order of their ids; a single name for regression.
    """

    kind: Literal["classification", "regression"]
    labels: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """Width of the logits: the number of classes, 1 for regression."""
        return len(self.labels)


@dataclass
class Batch:
    """One batch of rows, padded to its longest.

    Attributes:
        ids: Stable row ids, int64 `[batch]`.
        inputs: What the models are called with, each `[batch, length]`.
        labels: int64 class ids or float32 targets, `[batch]`.
    """

    ids: Tensor
    inputs: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Needs:
    """What an objective asks of both models; `run.py` switches on nothing else.

    Attributes:
        hidden_states: Whether all hidden states are wanted besides the logits.
    """

    hidden_states: bool = False


@dataclass
class Outputs:
    """What a model gives for a batch; the same for a student and for a teacher's signals.

    Attributes:
        logits: float32 `[batch, labels]`, before any temperature.
        hidden_states: Embeddings and each layer's output, `[batch, length, width]`; empty unless
            asked for by `Needs`.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] = ()


@dataclass
class Term:
    """One named part of a loss, unweighted.

    Attributes:
        total: Sum over the valid units, a scalar with a gradient path.
        units: Number of valid units (examples for classification).
        weight: What the mean is multiplied by in the loss, for example `lam * T**2`.
    """

    total: Tensor
    units: int
    weight: float

    @property
    def value(self) -> Tensor:
        """Mean over the valid units; 0 with a gradient path when there are none."""
        return self.total / max(self.units, 1)


@dataclass(frozen=True)
class Fit:
    """What an objective is told of the two models before training.

    Attributes:
        problem: The task's problem.
        student: Configuration of the student.
        teacher: Configuration of the teacher.
    """

    problem: Problem
    student: PretrainedConfig
    teacher: PretrainedConfig


class TeacherSource(Protocol):
    """A source of the teacher's signals; a module cannot tell a live network from stored rows."""

    def signals(self, batch: Batch, needs: Needs) -> Outputs:
        """Return the teacher's outputs for the rows of a batch, without a gradient."""
        ...


@dataclass(frozen=True)
class Trained:
    """A model of a comparison: what it scores, what it took, and which one it is.

    Attributes:
        scores: Metrics and logits on the evaluation sets.
        cost: Parameters, and what its training took (see `meter.Cost`).
        fingerprint: Changes with what determines it: weights, or all that they come from.
    """

    scores: Scores
    cost: Mapping[str, float | int | None]
    fingerprint: str


@dataclass
class Scores:
    """A model's answers on one split and the metrics computed from them.

    Attributes:
        metrics: Name to value; the main metric stands first.
        logits: float32 `[rows, labels]` for each evaluation set by name.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
