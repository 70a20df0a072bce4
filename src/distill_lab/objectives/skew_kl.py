"""Skew divergences: Ko et al. 2024 (DistiLLM)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective, needs_classes
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.by_rows import by_rows
from distill_lab.types import Batch, Fit, Outputs, Term

Direction = Literal["forward", "reverse"]


@by_rows
def skew_kl(
    student: Tensor, teacher: Tensor, temperature: float, alpha: float, direction: Direction
) -> Tensor:
    """Return a divergence against a mixture of both sides, summed, without T².

    Ko et al. 2024 (arXiv 2402.03898): "forward" is
    `KL(p || alpha * p + (1 - alpha) * q)`, "reverse" is `KL(q || alpha * q + (1 - alpha) * p)`. The
    mixture keeps the gradient bounded where one side is near 0. The authors' code leaves out the
    constant of the forward direction; here 0 means equal.

    Args:
        student: Logits `[rows, classes]`, q after the softmax.
        teacher: Logits `[rows, classes]`, p after the softmax; no gradient flows to them.
        temperature: T, above 0.
        alpha: Share of the first side in the mixture, 0 (no mixture) to below 1.
        direction: "forward" or "reverse".

    Returns:
        A scalar in float32.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    first, second = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    if alpha > 0:
        second = torch.logaddexp(first + math.log(alpha), second + math.log1p(-alpha))
    return (first.exp() * (first - second)).sum()


class SkewKL(Objective):
    """`(1 - lam) * CE + lam * T² * skew divergence`.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the soft loss, 0 to 1.
        alpha: The skew, 0 to below 1; 0.1 in the paper.
        direction: "forward" (from the teacher) or "reverse" (from the student).

    Raises:
        ConfigError: If alpha is out of its range.
    """

    all_logits = False

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        lam: float = 0.5,
        alpha: float = 0.1,
        direction: Direction = "forward",
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        if not 0 <= alpha < 1:
            raise ConfigError(f"objective.alpha={alpha}: from 0 (no mixture) to below 1")
        self.alpha = alpha
        self.direction: Direction = direction

    def prepare(self, fit: Fit) -> None:
        """Refuse a regression."""
        needs_classes(fit, 2, "skew_kl", "one class has no probabilities to compare")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        soft = compared(skew_kl, student, teacher, self.temperature, self.alpha, self.direction)
        return self.mixed(student, batch, soft, self.temperature**2)
