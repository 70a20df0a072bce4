"""Reverse divergence: the student is punished for what the teacher finds unlikely."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.base import Objective, needs_classes
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.by_rows import by_rows
from distill_lab.types import Batch, Fit, Outputs, Term


@by_rows
def reverse_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(s/T) || softmax(t/T)), summed over classes and rows, without T².

    Gu et al. 2024, "MiniLLM" (arXiv 2306.08543): mode-seeking, where Hinton's direction
    covers all that the teacher finds possible.

    Args:
        student: Logits `[rows, classes]`.
        teacher: Logits `[rows, classes]`; no gradient flows to them.
        temperature: T, above 0.

    Returns:
        A scalar in float32.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    return (log_q.exp() * (log_q - log_p)).sum()


class ReverseKL(Objective):
    """`(1 - lam) * CE + lam * T² * KL(q || p)`.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the soft loss, 0 to 1.
    """

    all_logits = False

    def __init__(self, *, temperature: float = 1.0, lam: float = 0.5) -> None:
        super().__init__(temperature=temperature, lam=lam)

    def prepare(self, fit: Fit) -> None:
        """Refuse a regression."""
        needs_classes(fit, 2, "reverse_kl", "one class has no probabilities to compare")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        soft = compared(reverse_kl, student, teacher, self.temperature)
        return self.mixed(student, batch, soft, self.temperature**2)
