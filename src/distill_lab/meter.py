"""What a training takes: rows, seconds, and the score of each epoch."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl

from distill_lab.devices import wait_for
from distill_lab.types import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Attributes:
        seconds: Wall time, selection scores included.
        examples: Rows trained on, counted as often as they were seen.
        examples_per_second: Training throughput, selection scores left out.
        peak_memory_mb: Peak memory of the device, or of the process on CPU, in MiB.
        best_epoch: Epoch that the selection split chose, counted from 1; 0 when none was scored.
        selection: Its main metric on the selection split; None when no epoch was scored.
        batch_size: Rows that were computed at once on a device.
    """

    seconds: float
    examples: int
    examples_per_second: float
    peak_memory_mb: float
    best_epoch: int
    selection: float | None
    batch_size: int

    def plain(self) -> dict[str, float | int | None]:
        """Return the fields as a dict."""
        return asdict(self)


class Meter(pl.Callback):
    """Counts rows and training seconds, and tells each epoch's score.

    Args:
        name: "teacher", "student" or "baseline".
        sign: -1 where less of the main metric is better; `best` is then its negative.
    """

    def __init__(self, name: str, sign: int = 1) -> None:
        self.name = name
        self.sign = sign
        self.examples = 0
        self.seconds = 0.0
        self.best_epoch = 0
        self.best = float("-inf")
        self._since = 0.0
        self._started = time.perf_counter()
        self._before = 0.0

    @property
    def wall(self) -> float:
        """Seconds since the training began, those of an earlier try that it went on from too."""
        return self._before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know."""
        running = time.perf_counter() - self._since
        return {
            "examples": self.examples,
            "seconds": self.seconds + running,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "wall": self.wall,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what another process has counted."""
        self._before = state_dict["wall"]
        for name in ("examples", "seconds", "best_epoch", "best"):
            setattr(self, name, state_dict[name])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the rows."""
        self.examples += len(batch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock again; keep and tell the score."""
        self._since = time.perf_counter()
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics["selection/score"])
        epoch = trainer.current_epoch + 1
        if score > self.best:
            self.best, self.best_epoch = score, epoch
        speed = self.examples / max(self.seconds, 1e-9)
        log.info(
            "%s: epoch %d/%s, selection %.4f, %.0f examples/s",
            self.name, epoch, trainer.max_epochs, self.sign * score, speed,
        )  # fmt: skip

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        wait_for(trainer.strategy.root_device)
        self.seconds += time.perf_counter() - self._since
