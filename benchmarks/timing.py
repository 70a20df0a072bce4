"""Clocks for training loops, arms that take turns, and what is said of them."""

from __future__ import annotations

import cProfile
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pytorch_lightning as pl
from rich.progress import track

from distill_lab.types import Batch


class Stopwatch:
    """Counts rows and seconds from the end of a warm-up to the end of the last step.

    Args:
        warmup: Steps that are left out: they allocate memory and fill caches.
        cpu: Whether to count the seconds that the process computed, summed over its threads, rather
            than those on the wall: what other processes take does not show.

    Attributes:
        profile: Switched on for the steps that count, of all stopwatches, where it is not None.
    """

    profile: ClassVar[cProfile.Profile | None] = None

    def __init__(self, warmup: int, cpu: bool = False) -> None:
        self.warmup = warmup
        self._now = time.process_time if cpu else time.perf_counter
        self._ends: list[float] = []
        self._rows: list[int] = []

    def step(self, rows: int) -> None:
        """Note the end of a step.

        Args:
            rows: Rows that the step has trained on.
        """
        self._ends.append(self._now())
        self._rows.append(rows)
        if self.profile is not None and len(self._ends) == max(self.warmup, 1):
            self.profile.enable()

    def stop(self) -> None:
        """Say that no step follows."""
        if self.profile is not None:
            self.profile.disable()

    @property
    def steps(self) -> int:
        """Steps that count."""
        return len(self._ends) - max(self.warmup, 1)

    @property
    def seconds(self) -> float:
        """Seconds that they took.

        Raises:
            ValueError: If the warm-up was the whole training.
        """
        if self.steps < 1:
            raise ValueError(f"{len(self._ends)} steps, {self.warmup} of them warm-up: none counts")
        return self._ends[-1] - self._ends[-self.steps - 1]

    @property
    def examples_per_second(self) -> float:
        """Rows of the steps that count, by their seconds."""
        return sum(self._rows[-self.steps :]) / self.seconds

    @property
    def seconds_per_step(self) -> float:
        """Mean seconds of a step that counts."""
        return self.seconds / self.steps


class Clock(pl.Callback):
    """A stopwatch for Lightning, asked for as any other callback of the configuration.

    Args:
        warmup: As of the stopwatch.
        cpu: As of the stopwatch.
    """

    def __init__(self, *, warmup: int, cpu: bool) -> None:
        self.watch = Stopwatch(warmup, cpu)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the end of a step."""
        self.watch.step(len(batch))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        self.watch.stop()

    @staticmethod
    def of(trainer: pl.Trainer) -> Stopwatch:
        """Return the stopwatch of a trainer that has one."""
        found = (c.watch for c in trainer.callbacks if isinstance(c, Clock))  # type: ignore[attr-defined]
        return next(found)


Arm = Callable[[], Stopwatch]


def take_turns(arms: Mapping[str, Arm], rounds: int) -> dict[str, list[Stopwatch]]:
    """Run all arms one after another, and again, so that the machine's noise falls on all alike.

    Every second round goes backwards, so that none has always the same one before it.
    """
    found: dict[str, list[Stopwatch]] = {name: [] for name in arms}
    for turn in track(range(rounds), "rounds"):
        for name in list(arms)[:: -1 if turn % 2 else 1]:
            found[name].append(arms[name]())
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours by theirs, round for round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Say the median of some values, with the least and the greatest."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
