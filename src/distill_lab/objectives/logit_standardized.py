"""Logit standardisation: Sun et al. 2024."""

from __future__ import annotations

from torch import Tensor

from distill_lab.objectives.base import Objective, needs_classes, needs_fixed_classes
from distill_lab.objectives.by_rows import by_rows
from distill_lab.objectives.hinton import soft_loss
from distill_lab.types import Batch, Fit, Outputs, Term


def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Return logits with mean 0 and standard deviation 1 in each row.

    Sun et al. 2024 (arXiv 2403.01427); the deviation is the unbiased one, as in the
    authors' code.

    Args:
        logits: `[rows, classes]`.
        eps: Added to the deviation.
    """
    logits = logits.float()
    centred = logits - logits.mean(dim=-1, keepdim=True)
    return centred / (eps + logits.std(dim=-1, keepdim=True))


@by_rows
def standardized_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return Hinton's divergence of standardised logits, summed over the rows, without T².

    Args:
        student: Logits `[rows, classes]`.
        teacher: Logits `[rows, classes]`; no gradient flows to them.
        temperature: T, above 0, applied after standardising.
    """
    return soft_loss(standardize(student), standardize(teacher), temperature)


class LogitStandardized(Objective):
    """`(1 - lam) * CE + lam * T² * KL(standardised t || standardised s)`.

    The student need not reach the teacher's range of logits, only their order and proportions. The
    authors weigh the soft loss nine times the hard one: λ = 0.9.

    Args:
        temperature: T, above 0, applied after standardising.
        lam: λ, the weight of the soft loss, 0 to 1.
    """

    def __init__(self, *, temperature: float = 2.0, lam: float = 0.9) -> None:
        super().__init__(temperature=temperature, lam=lam)

    def prepare(self, fit: Fit) -> None:
        """Refuse fewer than three classes, and classes that differ from row to row."""
        needs_fixed_classes(fit, "logit_standardized", "padding would count in mean and deviation")
        reason = "two standardised logits are the same for every row but for their sign"
        needs_classes(fit, 3, "logit_standardized", reason)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        soft = standardized_loss(student.logits, teacher.logits, self.temperature)
        return self.mixed(student, batch, soft, self.temperature**2)
