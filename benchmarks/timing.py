"""Clocks for training loops, arms that take turns, and what is said of them."""

from __future__ import annotations

import cProfile
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import truediv
from typing import ClassVar

import pytorch_lightning as pl
import torch
from rich.progress import track

from distill_lab.devices import wait_for
from distill_lab.types import Batch


class Stopwatch:
    """Counts rows and seconds from the end of a warm-up to the end of the last step.

    Args:
        warmup: Steps that are left out: they allocate memory and fill caches.
        cpu: Whether to count the seconds that the process computed, summed over its threads, rather
            than those on the wall: what other processes take does not show.
        device: Where is computed. Steps on a GPU are asked for ahead of it: there only the first
            and the last moment that count are waited for, and `usual` means nothing.

    Attributes:
        profile: Switched on for the steps that count, of all stopwatches, where it is not None.
    """

    profile: ClassVar[cProfile.Profile | None] = None

    def __init__(self, warmup: int, cpu: bool = False, device: str = "cpu") -> None:
        self.warmup = warmup
        self.device = torch.device(device)
        self._now = time.process_time if cpu else time.perf_counter
        self._ends: list[float] = []
        self._rows: list[int] = []

    def step(self, rows: int) -> None:
        """Note the end of a step.

        Args:
            rows: Rows that the step has trained on.
        """
        if len(self._ends) + 1 == max(self.warmup, 1):
            wait_for(self.device)
        self._ends.append(self._now())
        self._rows.append(rows)
        if self.profile is not None and len(self._ends) == max(self.warmup, 1):
            self.profile.enable()

    def stop(self) -> None:
        """Say that no step follows."""
        if self.profile is not None:
            self.profile.disable()
        if self.device.type != "cpu":
            wait_for(self.device)
            self._ends[-1] = self._now()

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
    def durations(self) -> list[float]:
        """Seconds of each step that counts."""
        ends = self._ends[-self.steps - 1 :]
        return [end - start for start, end in pairwise(ends)]

    @property
    def examples_per_second(self) -> float:
        """Rows of the steps that count, by their seconds."""
        return sum(self._rows[-self.steps :]) / self.seconds

    @property
    def seconds_per_step(self) -> float:
        """Mean seconds of a step that counts."""
        return self.seconds / self.steps


def usual(watches: Sequence[Stopwatch]) -> Stopwatch:
    """Return what a stopwatch would have shown had every step taken its median over the rounds.

    All rounds take the same steps, of which each has rows of its own lengths. What disturbs the
    machine shows only where it does so in half of the rounds at the same step.
    """
    found = Stopwatch(0)
    each = zip(*(watch.durations for watch in watches), strict=True)
    found._ends = [0.0, *accumulate(statistics.median(step) for step in each)]
    found._rows = watches[0]._rows[-len(found._ends) :]
    return found


class Clock(pl.Callback):
    """A stopwatch for Lightning, asked for as any other callback of the configuration.

    Args:
        warmup: As of the stopwatch.
        cpu: As of the stopwatch.
        device: As of the stopwatch.
    """

    def __init__(self, *, warmup: int, cpu: bool, device: str) -> None:
        self.watch = Stopwatch(warmup, cpu, device)

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


Quantity = Callable[[Stopwatch], float]


def measured(watches: Sequence[Stopwatch], of: Quantity, digits: int = 2) -> str:
    """Say the usual value of a quantity, with the least and the greatest of the rounds."""
    return _with_ends(of(usual(watches)), [of(watch) for watch in watches], digits)


def compared(
    ours: Sequence[Stopwatch],
    theirs: Sequence[Stopwatch],
    of: Quantity,
    digits: int = 2,
    by: Callable[[float, float], float] = truediv,
) -> str:
    """Say how two arms' usual values compare, with the least and the greatest of the rounds."""
    rounds = [by(of(a), of(b)) for a, b in zip(ours, theirs, strict=True)]
    return _with_ends(by(of(usual(ours)), of(usual(theirs))), rounds, digits)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Say the median of some values, with the least and the greatest."""
    return _with_ends(statistics.median(values), values, digits)


def _with_ends(value: float, values: Sequence[float], digits: int) -> str:
    return f"{value:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
