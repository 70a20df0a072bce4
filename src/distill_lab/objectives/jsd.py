"""Generalised Jensen-Shannon divergence: Agarwal et al. 2024 (GKD)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective, needs_classes
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.by_rows import by_rows
from distill_lab.objectives.hinton import soft_loss
from distill_lab.objectives.reverse_kl import reverse_kl
from distill_lab.types import Batch, Fit, Outputs, Term


@by_rows
def jsd(student: Tensor, teacher: Tensor, temperature: float, beta: float) -> Tensor:
    """Return `beta * KL(p || m) + (1 - beta) * KL(q || m)`, summed, without T².

    Agarwal et al. 2024 (arXiv 2306.13649), with `m = beta * p + (1 - beta) * q`. The
    formula tends to 0 at both ends; as in TRL, β = 0 stands for KL(p || q) and β = 1 for
    KL(q || p), its limits after division by β and 1 - β.

    Args:
        student: Logits `[rows, classes]`, q after the softmax.
        teacher: Logits `[rows, classes]`, p after the softmax; no gradient flows to them.
        temperature: T, above 0.
        beta: 0 to 1.

    Returns:
        A scalar in float32.
    """
    if beta == 0:
        return soft_loss(student, teacher, temperature)
    if beta == 1:
        return reverse_kl(student, teacher, temperature)
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    from_p = (log_p.exp() * (log_p - log_m)).sum()
    from_q = (log_q.exp() * (log_q - log_m)).sum()
    return beta * from_p + (1 - beta) * from_q


class JSD(Objective):
    """`(1 - lam) * CE + lam * T² * JSD_beta(p, q)`.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the soft loss, 0 to 1.
        beta: β, from Hinton's direction (0) to the reverse one (1).

    Raises:
        ConfigError: If β is out of its range.
    """

    all_logits = False

    def __init__(self, *, temperature: float = 1.0, lam: float = 0.5, beta: float = 0.5) -> None:
        super().__init__(temperature=temperature, lam=lam)
        if not 0 <= beta <= 1:
            raise ConfigError(f"objective.beta={beta}: from 0 (KL(p||q)) to 1 (KL(q||p))")
        self.beta = beta

    def prepare(self, fit: Fit) -> None:
        """Refuse a regression."""
        needs_classes(fit, 2, "jsd", "one class has no probabilities to compare")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        soft = compared(jsd, student, teacher, self.temperature, self.beta)
        return self.mixed(student, batch, soft, self.temperature**2)
