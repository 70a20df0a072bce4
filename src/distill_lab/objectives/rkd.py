"""Relational knowledge distillation: Park et al. 2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Term, Wanted


def mean_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the hidden states that are not padding, float32 `[batch, width]`.

    Args:
        states: `[batch, length, width]`.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
    """
    weights = mask[:, :, None].float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def distance_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the distances between rows differ, summed over ordered pairs.

    Park et al. 2019 (arXiv 1904.05068), equations 5 to 7: Euclidean distances, divided by their
    mean over the batch, compared by the Huber loss.

    Args:
        student: `[rows, width]`.
        teacher: `[rows, width]`, of any width; no gradient flows to it.

    Returns:
        A scalar in float32.
    """
    s, t = (_distances(side) for side in (student, teacher.detach()))
    return F.smooth_l1_loss(s, t, reduction="sum")


def _distances(rows: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(rows[:, None] - rows[None], dim=-1)
    pairs = max(len(rows) * (len(rows) - 1), 1)
    return found / (found.sum() / pairs).clamp(min=1e-12)


def angle_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the angles between triples of rows differ, mean over ordered triples.

    Park et al. 2019 (arXiv 1904.05068), equations 8 to 10: the cosine of the angle at the middle
    row, compared by the Huber loss.

    Args:
        student: `[rows, width]`.
        teacher: `[rows, width]`, of any width; no gradient flows to it.

    Returns:
        A scalar in float32; 0 for fewer than three rows.
    """
    s, t = (_cosines(side) for side in (student, teacher.detach()))
    rows = len(student)
    return F.smooth_l1_loss(s, t, reduction="sum") / max(rows * (rows - 1) * (rows - 2), 1)


def _cosines(rows: Tensor) -> Tensor:
    """Return `[middle, one, other]`; where rows coincide the sides agree and count nothing."""
    directions = F.normalize(rows[None] - rows[:, None], dim=-1)
    cosines: Tensor = directions @ directions.transpose(1, 2)
    return cosines


class RKD(Objective):
    """`(1 - lam) * hard + lam * (distance * distances + angle * angles)` between a batch's rows.

    The rows are the means of the last hidden states over their tokens. Relations are those within
    a batch: micro-batches do not sum to the whole batch. The paper's `task + 25 * distances + 50 *
    angles` is twice this at λ = 0.5.

    Args:
        lam: λ, the weight of the relations, 0 to 1.
        distance: Weight of the distances.
        angle: Weight of the angles.

    Raises:
        ConfigError: If a weight is negative or both are 0.
    """

    scheduled = ("lam",)
    all_logits = False
    inside = True

    def __init__(self, *, lam: float = 0.5, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__(lam=lam)
        if min(distance, angle) < 0 or max(distance, angle) == 0:
            raise ConfigError(
                f"objective.distance={distance}, angle={angle}: weights must not be negative, and"
                " one of them must be above 0"
            )
        self.distance = distance
        self.angle = angle
        self.last = (0, 0)

    def prepare(self, fit: Fit) -> None:
        """Settle which hidden states are compared."""
        self.last = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        self.needs = Needs(Wanted((self.last[0],)), Wanted((self.last[1],)))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `distances` and `angles`."""
        s = mean_of_tokens(student.hidden_states[self.last[0]], batch.mask)
        t = mean_of_tokens(teacher.hidden_states[self.last[1]], batch.mask)
        return {
            "hard": Term(hard_loss(student.logits, batch.labels), "answers", 1 - self.lam),
            "distances": Term(distance_relation(s, t), "row_pairs", self.lam * self.distance),
            "angles": Term(angle_relation(s, t), "batch", self.lam * self.angle),
        }
