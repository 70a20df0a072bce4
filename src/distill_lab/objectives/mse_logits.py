"""Matching logits: Ba and Caruana 2014, "Do deep nets really need to be deep?"."""

from __future__ import annotations

from torch import Tensor

from distill_lab.objectives.base import Objective, needs_fixed_classes
from distill_lab.objectives.by_rows import by_rows
from distill_lab.types import Batch, Fit, Outputs, Term


@by_rows
def logit_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared distance of centred logits, mean over classes, summed over rows.

    Ba and Caruana 2014 (arXiv 1312.6184), with both sides centred over the classes:
    a softmax does not see what is added to all logits of a row, so the student need not copy it.
    Half of it is what T² times Hinton's soft loss tends to for a large T.

    Args:
        student: Logits `[rows, classes]`; `[rows, 1]`, a regression's numbers, are not centred.
        teacher: Logits of the same shape; no gradient flows to them.

    Returns:
        A scalar in float32.
    """
    distance = student.float() - teacher.detach().float()
    if distance.shape[-1] > 1:
        distance = distance - distance.mean(dim=-1, keepdim=True)
    return distance.square().mean(dim=-1).sum()


class MseLogits(Objective):
    """`(1 - lam) * hard + lam * mean over classes of (centred s - centred t)²`.

    Args:
        lam: λ, the weight of the distance to the teacher, 0 to 1.
    """

    scheduled = ("lam",)

    def __init__(self, *, lam: float = 0.5) -> None:
        super().__init__(lam=lam)

    def prepare(self, fit: Fit) -> None:
        """Refuse classes that differ from row to row."""
        needs_fixed_classes(fit, "mse_logits", "padding would count in the mean")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `soft`."""
        return self.mixed(student, batch, logit_distance(student.logits, teacher.logits))
