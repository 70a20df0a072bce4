"""Training a student on a teacher's signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.modules.base import TrainedModel
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.schedules import stage_at, stage_ends
from distill_lab.tasks import Task
from distill_lab.transfer import taught_alone, terms_of
from distill_lab.types import Batch, Outputs, TeacherSource, Term


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
        task: Task,
        optim: AdamW,
    ) -> None:
        super().__init__(model, task, optim)
        self.source = source
        self.objective = objective
        self._checked = False

    @property
    def idles(self) -> bool:
        """Whether the objective has stages, of which one may leave out a head or a projection."""
        return len(self.objective.stages) > 1

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Tell the objective how far the training is."""
        steps = int(self.trainer.estimated_stepping_batches)
        self.objective.progress = self.global_step / max(steps - 1, 1)
        ends = stage_ends(steps, self.objective.stages)
        self.objective.stage = stage_at(self.global_step, ends)

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted loss."""
        batch, terms, _, _ = self._terms(batch)
        return sum(term.part(batch) for term in terms.values())  # type: ignore[return-value]

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        """Return the weighted loss, for the callback with the terms and both models' logits.

        Of a teacher whose largest logits alone are known, the classes that it answers.
        """
        batch, terms, student, teacher = self._terms(batch)
        loss = sum(term.part(batch) for term in terms.values())
        self.noted(batch, {name: term.total for name, term in terms.items()})
        return {
            "loss": loss,
            "terms": terms,
            "batch": batch,  # that they are of
            "student": student.logits.detach(),
            "teacher": teacher.logits if teacher.top is None else teacher.top.indices[:, 0],
        }

    def _terms(self, batch: Batch) -> tuple[Batch, Mapping[str, Term], Outputs, Outputs]:
        """Return the batch that is learned, the terms of its loss, and both models' outputs."""
        own = None
        if self.rows is not None:
            own = self.task.by_student(self.model, batch, self.rows, self.global_step)
        batch = own or batch
        needs = self.objective.needs
        teacher = self.source.signals(batch, needs.teacher)
        student = self.answer(batch, needs.student)
        with torch.autocast(self.device.type, enabled=False):  # which rounds products to bfloat16
            # Asking each batch would make a GPU wait for its labels.
            if own is not None:
                terms = taught_alone(self.objective, student, teacher, batch)
            elif self.some_unlabelled:
                terms = terms_of(self.objective, student, teacher, batch)
            else:
                terms = self.objective(student, teacher, batch)
        return batch, terms, student, teacher

    def on_after_backward(self) -> None:
        """Refuse, at the first step, a projection that the loss does not depend on.

        A later stage may leave one out.

        Raises:
            ConfigError: If a parameter of the objective has no gradient.
        """
        if self._checked or self.objective.stage > 0:  # a training goes on in a later stage
            return
        self._checked = True
        idle = [name for name, p in self.objective.named_parameters() if p.grad is None]
        if idle:
            raise ConfigError(
                f"objective: {', '.join(idle)} of {type(self.objective).__name__} receives no"
                " gradient and would never be trained; the loss must depend on it"
            )

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule; each stage of the objective has its own."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optim.configure(self, steps, self.objective.stages)
