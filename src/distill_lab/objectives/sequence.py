"""Kim and Rush 2016, "Sequence-level knowledge distillation" (arXiv 1606.07947)."""

from __future__ import annotations

from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Needs, Outputs, Term


class Sequence(Objective):
    """`CE(s, ŷ)`, where ŷ is what the teacher has written; section 3.2.

    Its probabilities are not asked for: the mode of what it would say, or samples of it, stand for
    them. So the student may have another tokeniser than the teacher.
    """

    needs = Needs(signals=False)
    scheduled = ()
    all_logits = False

    def __init__(self) -> None:
        super().__init__()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the term `hard`."""
        return {"hard": Term(hard_loss(student.logits, batch.labels), "answers", 1.0)}
