"""Training on labels alone: teachers and baselines."""

from __future__ import annotations

from torch import Tensor

from distill_lab.modules.base import TrainedModel
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Term


class FineTuning(TrainedModel):
    """Supervised fine-tuning with the task's hard loss."""

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean hard loss of the batch."""
        return self._hard(batch).part(batch)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the mean hard loss of the batch; log it now and then."""
        hard = self._hard(batch)
        loss = hard.part(batch)
        self.noted(batch, {"hard": hard.total})
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss", loss.detach())
        return loss

    def _hard(self, batch: Batch) -> Term:
        return Term(hard_loss(self.answer(batch).logits, batch.labels), "answers", 1.0)
