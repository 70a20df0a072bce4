"""Keeps how far a training has come, so that one that was ended goes on to the same bits."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl

from distill_lab import ranks
from distill_lab.errors import ConfigError, first_line
from distill_lab.progress_files import ProgressFiles
from distill_lab.random_states import random_states, restore

log = logging.getLogger(__name__)
# Between two agreements of several processes, at most: who tells them to end kills them when it has
# waited, so slow steps are not waited for; nor does each of many short ones have to agree.
_ASK_SECONDS, _ASK_STEPS = 1.0, 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A training was told to end, and has kept how far it came.

    Attributes:
        signal: Which of the system's signals told it.
    """

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(f"ended by {signal.Signals(number).name}")


@runtime_checkable
class GoesOn(Protocol):
    """A logger that can go on after what it has written up to a checkpoint."""

    def mark(self) -> Any:
        """Write what is pending; return plain data that tell where it stands."""

    def go_on(self, mark: Any) -> None:
        """Forget what was written after a mark."""


def marked(loggers: Iterable[Any]) -> list[Any]:
    """Return where loggers stand; None for one that cannot go on."""
    return [each.mark() if isinstance(each, GoesOn) else None for each in loggers]


def go_on(loggers: Iterable[Any], marks: Iterable[Any]) -> None:
    """Let loggers forget what they have written after their marks."""
    for logger, mark in zip(loggers, marks, strict=True):
        if isinstance(logger, GoesOn):
            logger.go_on(mark)


class Resume(pl.Callback):
    """Writes a checkpoint now and then, and when the process is told to end.

    It is taken between two optimizer steps, never after an epoch's last one: there nothing is half
    done, and what follows draws the same random numbers whether or not the process was replaced.
    Ctrl-C and SIGTERM end the training at the next such moment; a second Ctrl-C ends it at once.

    Args:
        every_minutes: Between two checkpoints; None for none by time.
        every_steps: Optimizer steps between two, or a step more at the end of an epoch; None for
            none by steps.

    Raises:
        ConfigError: If a number is not above 0.
    """

    def __init__(
        self, *, every_minutes: float | None = 5.0, every_steps: int | None = None
    ) -> None:
        for name, value in {"every_minutes": every_minutes, "every_steps": every_steps}.items():
            if value is not None and not value > 0:
                raise ConfigError(
                    f"callbacks.resume.{name}={value}: above 0, or null for never by that"
                )
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self.files: ProgressFiles | None = None
        self._role = ""
        self._restored: dict[str, Any] | None = None
        self._keeping: dict[str, Any] | None = None
        self._asked = 0
        self._kept_at, self._kept_step = 0.0, 0
        self._ask_in = self._ask_every = 1  # steps, the same in all processes
        self._agreed_at = 0.0
        self._handlers: dict[int, Any] = {}

    def prepare(self, files: ProgressFiles, role: str) -> tuple[Path, dict[str, Any]] | None:
        """Return where an earlier try stopped, None if there is none.

        Args:
            files: Where checkpoints are kept.
            role: "teacher", "student" or "baseline", for the log.

        Returns:
            The checkpoint for Lightning, and this callback's part of it.
        """
        self.files, self._role = files, role
        found = files.load()
        if found is None:
            return None
        file, content = found
        own: dict[str, Any] = content["distill_lab"]
        self._restored = own["random"][ranks.rank()]
        log.info("%s: goes on after step %d of an earlier try", role, content["global_step"])
        return file, own

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals; after Lightning, which would end the training in its own way."""
        self._kept_at = self._agreed_at = time.monotonic()
        self._kept_step = trainer.global_step
        if self.files is None or threading.current_thread() is not threading.main_thread():
            return
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self._hear)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave signals to who had them."""
        self._hear_no_more()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave signals to who had them."""
        self._hear_no_more()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the random states back, or keep how far the training is.

        Raises:
            Stopped: If the process was told to end.
        """
        if self._restored is not None:
            restore(self._restored)
            self._restored = None
            return
        if self.files is None or batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        asked, due = self._agreed(trainer, batch_idx)
        if asked or due:
            self._keep(trainer, batch_idx)
        if asked:
            raise Stopped(asked)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take back that the next batch is already counted as ready; it will be once more."""
        if "distill_lab" not in checkpoint and self._keeping is not None:
            checkpoint["distill_lab"] = self._keeping
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for part in ("total", "current"):
                progress[part]["ready"] = progress[part]["started"]

    def _keep(self, trainer: pl.Trainer, batches: int) -> None:
        assert self.files is not None and trainer.train_dataloader is not None
        self._keeping = {
            "random": ranks.gathered(random_states()),
            "epoch": trainer.current_epoch,
            "batches": batches,
            "batch_size": trainer.train_dataloader.batch_sampler.batch_size,
            "marks": marked(trainer.loggers),
        }
        try:
            self.files.write(
                trainer.global_step, lambda file: _save(trainer, file), ranks.rank() == 0
            )
        except (OSError, RuntimeError) as error:  # the latter of torch's writer
            if ranks.told_of_others(error):
                raise
            # Without a checkpoint a training is worth no less than it was before there were any.
            reason = first_line(error)
            log.warning("%s: no checkpoint, %s; the training goes on", self._role, reason)
            self.files.drop_unfinished()
        finally:
            self._keeping = None
        self._kept_at, self._kept_step = time.monotonic(), trainer.global_step

    def _agreed(self, trainer: pl.Trainer, batch_idx: int) -> tuple[int, bool]:
        """Return the signal that ends the training (0: none), and whether to keep; alike in all."""
        done = trainer.global_step - self._kept_step
        steps = self.every_steps is not None and done >= self.every_steps
        if ranks.world() == 1:
            return self._asked, steps or self._late()
        self._ask_in -= 1
        if self._ask_in:
            return 0, steps
        now = time.monotonic()
        told = ranks.gathered((self._asked, self._late(), now - self._agreed_at))
        each = max(seconds for *_, seconds in told) / self._ask_every
        often = min(_ASK_STEPS, int(_ASK_SECONDS / max(each, 1e-9)))
        self._ask_every = self._ask_in = max(1, often)
        self._agreed_at = now
        return max(asked for asked, *_ in told), steps or any(late for _, late, _ in told)

    def _late(self) -> bool:
        waited = time.monotonic() - self._kept_at
        return self.every_minutes is not None and waited > 60 * self.every_minutes

    def _hear(self, number: int, frame: Any) -> None:
        if self._asked:
            former: Callable[..., Any] | Any = self._handlers.get(number)
            self._hear_no_more()
            if callable(former):
                former(number, frame)
            else:
                signal.raise_signal(signal.Signals(number))
            return
        self._asked = number
        again = "; Ctrl-C again ends at once" if number == signal.SIGINT else ""
        log.warning("%s: keeps how far it is, then ends%s", self._role, again)

    def _hear_no_more(self) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._hear:  # Lightning may have put them back before
                signal.signal(number, handler)
        self._handlers = {}


def _save(trainer: pl.Trainer, file: Path) -> None:
    trainer.save_checkpoint(file, weights_only=False)
