"""How far a training is: a bar where somebody watches, now and then a line where a file does."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from distill_lab.modules.base import TrainedModel

log = logging.getLogger(__name__)


class Progress(ProgressBar):
    """One bar for a whole training, with the time left; it vanishes when the training ends.

    Args:
        every: Steps between two updates of the bar.
        silence: Seconds after which a line is logged where there is no terminal.
    """

    def __init__(self, *, every: int = 5, silence: float = 60.0) -> None:
        super().__init__()
        self.every = every
        self.silence = silence
        self._enabled = True
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._said = 0.0

    def disable(self) -> None:
        """Show nothing; Lightning asks for it on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar, or start the clock."""
        self._said = time.monotonic()
        console = Console(stderr=True)
        if not (self._enabled and console.is_terminal):
            return
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(_role(pl_module), total=_steps(trainer))
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar, or say how far it is after a long silence."""
        if self._bar is not None and trainer.global_step % self.every == 0:
            self._bar.update(self._task, completed=trainer.global_step)
        elif self._enabled and self._bar is None and time.monotonic() - self._said > self.silence:
            self._said = time.monotonic()
            done = 100 * trainer.global_step / _steps(trainer)
            log.info("%s: %.0f %% of the steps", _role(pl_module), done)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar before the error is told."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _steps(trainer: pl.Trainer) -> float:
    return max(float(trainer.estimated_stepping_batches), 1.0)


def _role(module: pl.LightningModule) -> str:
    return module.role if isinstance(module, TrainedModel) else type(module).__name__
