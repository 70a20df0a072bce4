"""DIST: matching relations by correlation, Huang et al. 2022."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.base import Objective, needs_classes
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Outputs, Term

_EPS = 1e-8


def correlation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - Pearson's correlation of each row of two matrices, `[rows]`.

    Args:
        student: `[rows, columns]`.
        teacher: `[rows, columns]`.
    """
    s = student - student.mean(dim=1, keepdim=True)
    t = teacher - teacher.mean(dim=1, keepdim=True)
    return 1 - F.cosine_similarity(s, t, dim=1, eps=_EPS)


class DIST(Objective):
    """`(1 - lam) * CE + lam * T² * (beta * inter + gamma * intra)`.

    Huang et al. 2022 (arXiv 2205.10536): `inter` correlates the classes of each row, `intra` the
    rows of each class, on probabilities softened by T. `intra` depends on which rows share a batch,
    so micro-batches do not sum to the whole batch. The paper's sum is twice this at λ = 0.5.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of both relations, 0 to 1.
        beta: Weight of the relations between classes.
        gamma: Weight of the relations within a class.
    """

    def __init__(
        self, *, temperature: float = 1.0, lam: float = 0.5, beta: float = 1.0, gamma: float = 1.0
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        self.beta = beta
        self.gamma = gamma

    def prepare(self, fit: Fit) -> None:
        """Refuse fewer than three classes."""
        needs_classes(fit, 3, "dist", "the correlation of two probabilities is always 1 or -1")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `inter` and `intra`."""
        q = F.softmax(student.logits.float() / self.temperature, dim=-1)
        p = F.softmax(teacher.logits.detach().float() / self.temperature, dim=-1)
        scale = self.lam * self.temperature**2
        inter, intra = correlation_distance(q, p).sum(), correlation_distance(q.T, p.T).mean()
        return {
            "hard": Term(hard_loss(student.logits, batch.labels), "rows", 1 - self.lam),
            "inter": Term(inter, "rows", scale * self.beta),
            "intra": Term(intra, "batch", scale * self.gamma),
        }
