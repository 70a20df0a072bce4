"""What both trainings share: the optimizer, and scoring the selection split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill_lab import ranks
from distill_lab.better import sign
from distill_lab.finite import Finite
from distill_lab.forward import forward
from distill_lab.optim import AdamW
from distill_lab.sharding import Sharded, divided_leaves, divided_network, whole_state
from distill_lab.tasks import Task
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Batch, Outputs, Wanted


class TrainedModel(pl.LightningModule, ABC):
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
        self._undivided: dict[str, nn.Module] = {}  # what stays whole while a copy is divided

    def configure_model(self) -> None:
        """Train a divided copy where the strategy is to divide the model among processes."""
        chosen = self.trainer.strategy
        if not isinstance(chosen, Sharded) or self._undivided:
            return
        for name, part in list(self.named_children()):
            divide = divided_network if part is self.model else divided_leaves
            self._undivided[name] = part
            setattr(self, name, divide(part, chosen.mesh))

    def make_whole(self) -> None:
        """Bring what was trained in a divided copy into the model; nothing without one."""
        if not self._undivided:
            return
        state = whole_state(self)
        for name, part in self._undivided.items():
            setattr(self, name, part)
        self._undivided = {}
        self.load_state_dict(state)

    @property
    def idles(self) -> bool:
        """Whether some parameters get no gradient at some steps, which DDP must be told."""
        return False

    def answer(self, batch: Batch, wanted: Wanted | None = None) -> Outputs:
        """Return the model's outputs for a batch."""
        return forward(self.model, batch, wanted)

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return what a training step makes smaller, without noting anything."""

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

    def noted(self, batch: Batch, terms: Mapping[str, Tensor]) -> None:
        """Remember what a step is computed from, for who has to tell that it is not finite."""
        guard = self._finite
        if guard is not None:
            guard.note(batch, {name: total.detach() for name, total in terms.items()})

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip; where somebody looks at the norm, with the norm that was looked at."""
        guard, kind = self._finite, str(gradient_clip_algorithm or "norm").rpartition(".")[2]
        if guard is None or kind.lower() != "norm":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        guard.clip(self.trainer, optimizer, float(gradient_clip_val or 0))

    @property
    def _finite(self) -> Finite | None:
        """Who looks at the gradients, in a training whose gradients torch itself can measure."""
        trainer = self._trainer
        if trainer is None or trainer.precision == "16-mixed" or not _plain(trainer.strategy):
            return None
        found: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        return next((each for each in found if isinstance(each, Finite)), None)

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule."""
        return self.optim.configure(self, int(self.trainer.estimated_stepping_batches))


def _plain(strategy: Any) -> bool:
    return isinstance(strategy, (SingleDeviceStrategy, DDPStrategy, Sharded))
