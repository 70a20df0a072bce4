"""Training a student on a teacher's signals."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from distill_lab.modules.base import TrainedModel
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.tasks import TextTask
from distill_lab.types import Batch, TeacherSource


class Distillation(TrainedModel):
    """Holds the student, the source of the teacher's signals and the objective.

    The source is no submodule: the teacher is in no checkpoint, optimizer or gradient bucket. T
    and λ are set by the distillation callback, which also logs the terms.

    Args:
        model: The student.
        source: Gives the teacher's signals for a batch.
        objective: Prepared for the two models; its projections are trained with the student.
        task: Computes the metrics.
        optim: Optimizer and schedule.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        source: TeacherSource,
        objective: Objective,
        task: TextTask,
        optim: AdamW,
    ) -> None:
        super().__init__(model, task, optim)
        self.source = source
        self.objective = objective

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        """Return the weighted loss, with the terms and both models' logits for the callback."""
        teacher = self.source.signals(batch, self.objective.needs)
        student = self.answer(batch, self.objective.needs)
        terms = self.objective(student, teacher, batch)
        loss = sum(term.weight * term.value for term in terms.values())
        return {
            "loss": loss,
            "terms": terms,
            "student": student.logits.detach(),
            "teacher": teacher.logits,
        }
