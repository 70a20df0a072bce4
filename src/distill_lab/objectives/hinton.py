"""Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"."""

from __future__ import annotations

import logging

import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.base import Objective
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.by_rows import by_rows
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Outputs, Term

log = logging.getLogger(__name__)


@by_rows
def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(t/T) || softmax(s/T)), summed over classes and rows, without T².

    Hinton et al. 2015 (arXiv 1503.02531), section 2. The divergence, not the cross-entropy: 0
    means that the student answers as the teacher does; the gradient is the same.

    Args:
        student: Logits `[rows, classes]`.
        teacher: Logits `[rows, classes]`; no gradient flows to them.
        temperature: T, above 0.

    Returns:
        A scalar in float32; its gradient to the student's logits is (q - p) / T.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True)


def soft_and_scale(
    student: Outputs, teacher: Outputs, batch: Batch, temperature: float
) -> tuple[Tensor, float]:
    """Return the soft loss of a batch and what belongs to its weight besides λ.

    Args:
        student: Gives the student's logits.
        teacher: Gives the teacher's, all or the largest.
        batch: Tells by its labels whether this is a regression.
        temperature: T, above 0; without meaning for a regression.

    Returns:
        The divergence and T², or for a regression the squared error to the teacher and 1.
    """
    if batch.labels.is_floating_point():
        return hard_loss(student.logits, teacher.logits.detach()[:, 0]), 1.0
    return compared(soft_loss, student, teacher, temperature), temperature**2


class Hinton(Objective):
    """`(1 - lam) * CE(s, y) + lam * T² * KL(p || q)`; the T² keeps gradients of one size.

    For regression the softmax is undefined; there it is
    `(1 - lam) * MSE(s, y) + lam * MSE(s, t)`, and T has no meaning.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the soft loss, 0 to 1.
    """

    all_logits = False

    def __init__(self, *, temperature: float = 4.0, lam: float = 0.5) -> None:
        super().__init__(temperature=temperature, lam=lam)

    def prepare(self, fit: Fit) -> None:
        """Let a regression do without a temperature."""
        if fit.problem.kind == "regression":
            log.info("objective: a regression has no temperature, so T plays no part")
            self.scheduled = ("lam",)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        soft, scale = soft_and_scale(student, teacher, batch, self.temperature)
        return self.mixed(student, batch, soft, scale)
