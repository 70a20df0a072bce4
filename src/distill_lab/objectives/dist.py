"""DIST: matching relations by correlation, Huang et al. 2022."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.base import (
    Objective,
    check_weight,
    needs_classes,
    needs_fixed_classes,
)
from distill_lab.objectives.by_rows import by_rows
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Outputs, Term

_EPS = 1e-8


def relations(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return how far the correlations of two models' softened probabilities are from 1.

    Huang et al. 2022 (arXiv 2205.10536), equations 7 to 9: 1 - Pearson's correlation.

    Args:
        student: Logits `[rows, classes]`.
        teacher: Logits `[rows, classes]`; no gradient flows to them.
        temperature: T, above 0.

    Returns:
        Of the classes of each row, summed over the rows; of the rows of each class, mean over the
        classes; scalars in float32.
    """
    teacher = teacher.detach()

    def soft(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities of some rows."""
        q, p = (F.softmax(side.float() / temperature, dim=-1) for side in (s, t))
        return q, p

    @by_rows
    def sums(s: Tensor, t: Tensor) -> Tensor:
        """Return the sum of each class."""
        return torch.cat([side.sum(dim=0) for side in soft(s, t)])

    q_mean, p_mean = (sums(student.detach(), teacher) / len(student)).chunk(2)

    @by_rows
    def products(s: Tensor, t: Tensor) -> Tensor:
        """Return the distance within rows, and each class's products of deviations.

        What deviates adds up to 0, so that the means count as constants in the gradient.
        """
        q, p = soft(s, t)
        inter = correlation_distance(*_products(q, p, q.mean(dim=1), p.mean(dim=1), 1)).sum()
        return torch.cat([inter[None], *_products(q, p, q_mean, p_mean, 0)])

    inter, of_classes = products(student, teacher).tensor_split([1])
    return inter[0], correlation_distance(*of_classes.chunk(3)).mean()


def correlation_distance(both: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - Pearson's correlation.

    Args:
        both: Sum of the products of both sides' deviations from their means.
        student: Sum of the squared deviations of one side.
        teacher: That of the other.
    """
    return 1 - both / (student.clamp(min=_EPS**2) * teacher.clamp(min=_EPS**2)).sqrt()


def _products(q: Tensor, p: Tensor, q_mean: Tensor, p_mean: Tensor, dim: int) -> Sequence[Tensor]:
    q, p = q - q_mean.unsqueeze(dim), p - p_mean.unsqueeze(dim)
    return [(a * b).sum(dim=dim) for a, b in ((q, p), (q, q), (p, p))]


class DIST(Objective):
    """`(1 - lam) * CE + lam * T² * (beta * inter + gamma * intra)`.

    Huang et al. 2022 (arXiv 2205.10536): `inter` correlates the classes of each row, `intra` the
    rows of each class, on probabilities softened by T. `intra` depends on which rows share a batch,
    so micro-batches do not sum to the whole batch; a class that is equally probable in all rows has
    no correlation, and counts as 1 without a gradient. The paper's sum is twice this at λ = 0.5.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of both relations, 0 to 1.
        beta: Weight of the relations between classes.
        gamma: Weight of the relations within a class.

    Raises:
        ConfigError: If a weight is negative.
    """

    def __init__(
        self, *, temperature: float = 1.0, lam: float = 0.5, beta: float = 1.0, gamma: float = 1.0
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        check_weight(beta, "objective.beta")
        check_weight(gamma, "objective.gamma")
        self.beta = beta
        self.gamma = gamma

    def prepare(self, fit: Fit) -> None:
        """Refuse fewer than three classes, and classes that differ from row to row."""
        needs_fixed_classes(fit, "dist", "those of two rows cannot be correlated")
        needs_classes(fit, 3, "dist", "the correlation of two probabilities is always 1 or -1")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `inter` and `intra`."""
        inter, intra = relations(student.logits, teacher.logits, self.temperature)
        scale = self.lam * self.temperature**2
        return {
            "hard": Term(hard_loss(student.logits, batch.labels), "answers", 1 - self.lam),
            "inter": Term(inter, "answers", scale * self.beta),
            "intra": Term(intra, "batch", scale * self.gamma),
        }
