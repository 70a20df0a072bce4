"""What both trainings share: the optimizer, and scoring the selection split."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill_lab import ranks
from distill_lab.better import sign
from distill_lab.forward import forward
from distill_lab.optim import AdamW
from distill_lab.tasks import Task
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Batch, Outputs, Wanted


class TrainedModel(pl.LightningModule):
    """A model in training, scored on the selection split after each epoch.

    Args:
        model: The network that is trained.
        task: Computes the metrics.
        optim: Optimizer and schedule.
    """

    def __init__(self, model: PreTrainedModel, task: Task, optim: AdamW) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.optim = optim
        self.role = "model"  # "teacher", "student" or "baseline", for logs
        self.selection: ModelRows | None = None  # what `validation_step` is given, set by `fit`
        self.rows: ModelRows | None = None  # what `training_step` is given, set by `fit`
        self.some_unlabelled = False  # whether some training rows have no label, set by `fit`
        self._answers: list[tuple[Tensor, Tensor]] = []

    @property
    def idles(self) -> bool:
        """Whether some parameters get no gradient at some steps, which DDP must be told."""
        return False

    def answer(self, batch: Batch, wanted: Wanted | None = None) -> Outputs:
        """Return the model's outputs for a batch."""
        return forward(self.model, batch, wanted)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        """Move a batch that is not there yet."""
        return batch if batch.labels.device == device else batch.to(device)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Collect the answers of one batch."""
        assert self.selection is not None
        kept = self.task.answer(self.model, batch, self.selection)
        self._answers.append((batch.ids, kept.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole split."""
        of_all = [pair for answers in ranks.gathered(self._answers) for pair in answers]
        ids, answers = (torch.cat(part) for part in zip(*of_all, strict=True))
        self._answers.clear()
        assert self.selection is not None
        scores = self.task.score(answers, self.selection, self.selection.positions(ids.numpy()))
        self.log_dict({f"selection/{name}": value for name, value in scores.items()})
        main = self.task.metrics[0]
        self.log("selection/score", sign(main) * scores[main], logger=False, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule."""
        return self.optim.configure(self, int(self.trainer.estimated_stepping_batches))
