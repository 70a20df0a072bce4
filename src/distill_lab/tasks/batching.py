"""Which rows go together: batches of similar length, in an order fixed by seed and epoch."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Sampler

from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Batch


@dataclass(frozen=True)
class Beside:
    """What is done while the device computes.

    Attributes:
        workers: Processes that put batches together; 0 if the training itself does.
        pinned: Whether batches lie where a GPU fetches them without being waited for.
    """

    workers: int = 0
    pinned: bool = False


_WINDOW = 64  # batches that are sorted by length together


class Positions(list[int]):
    """Which rows make a batch, with the mean units of the batches of its optimizer step."""

    per_step: Mapping[str, float]
    draw: int
    """Which of the draws, where rows have something to be drawn: the epoch."""


class LengthGrouped(Sampler[Positions]):
    """Shuffled batches of rows of similar length.

    Rows are shuffled, sorted by length within windows of 64 batches, cut into batches, and the
    batches are shuffled: little padding, yet another order and other neighbours each epoch.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a batch; the last one of an epoch may have fewer.
        seed: With the epoch, fixes the order.
        accumulate: Batches of an optimizer step in each process.
        rank: Which of the processes that train together this is.
        world: How many they are; each takes every `world`-th batch, and has as many as the others.
        answers: How many answers each row has; None for one.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        answers: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.lengths = lengths
        self.answers = np.ones_like(lengths) if answers is None else answers
        self.batch_size = batch_size
        self.seed = seed
        self.accumulate = accumulate
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._done = (-1, 0)

    @property
    def sampler(self) -> LengthGrouped:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; Lightning calls this before each."""
        self.epoch = epoch

    def go_on(self, epoch: int, batches: int) -> None:
        """Leave out what an earlier try has seen of an epoch.

        Args:
            epoch: Which one.
            batches: How many of its batches, in this process.
        """
        self._done = (epoch, batches)
        # Lightning asks for the first batches before it tells the epoch, and workers fetch at once.
        self.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.lengths) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Positions]:
        done = self._done[1] if self.epoch == self._done[0] else 0
        yield from islice(self._epoch(), done, None)

    def _epoch(self) -> Iterator[Positions]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.lengths))
        span = self.batch_size * _WINDOW
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            window = order[start : start + span]
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches += [
                window[i : i + self.batch_size].tolist()
                for i in range(0, len(window), self.batch_size)
            ]
        shuffled = [Positions(batches[i]) for i in generator.permutation(len(batches))]
        rounds = self._evenly(shuffled)
        span = self.accumulate * self.world
        for start in range(0, len(rounds), span):
            step = rounds[start : start + span]
            per_step = self._mean_units(step)
            for batch in step[self.rank :: self.world]:
                batch.per_step, batch.draw = per_step, self.epoch
                yield batch

    def _evenly(self, batches: list[Positions]) -> list[Positions]:
        """Divide the last batches anew, so that every process has one of them."""
        rest = len(batches) % self.world
        if rest == 0:
            return batches
        # The one that is not full may be among the last, and too small to be divided.
        batches.sort(key=lambda batch: len(batch) == self.batch_size)
        whole, last = batches[:-rest], np.concatenate(batches[-rest:])
        return [*whole, *(Positions(part.tolist()) for part in np.array_split(last, self.world))]

    def _mean_units(self, step: list[Positions]) -> Mapping[str, float]:
        """Return units per batch of all processes, over which gradients are averaged.

        Lightning divides by `accumulate` even at an epoch's end.
        """
        if self.accumulate == self.world == 1:
            return {}
        lengths = [self.lengths[batch] for batch in step]
        sums = {
            "answers": sum(int(self.answers[batch].sum()) for batch in step),
            "rows": sum(map(len, lengths)),
            "row_pairs": sum(len(rows) * (len(rows) - 1) for rows in lengths),
            "tokens": sum(int(rows.sum()) for rows in lengths),
            "token_pairs": sum(int(np.square(rows).sum()) for rows in lengths),
            "batch": len(step),
        }
        shares = self.accumulate * self.world
        return {unit: total / shares for unit, total in sums.items()}


class SortedByLength(Sampler[list[int]]):
    """Batches in order of length: the least padding, for scoring.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a batch.
        rank: Which of the processes that score together this is.
        world: How many they are; each has as many batches as the others, if there are rows enough.
    """

    def __init__(
        self, lengths: npt.NDArray[np.int64], batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        self.order = np.argsort(lengths, kind="stable")
        batches = -(-len(self.order) // batch_size)
        if world == 1:
            parts = [self.order[i * batch_size : (i + 1) * batch_size] for i in range(batches)]
        else:  # processes that divide a model among them need it equally often
            parts = np.array_split(self.order, -(-batches // world) * world)[rank::world]
        self.parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        for part in self.parts:
            yield part.tolist()


def _as_is(batch: Any) -> Batch:
    made: Batch = batch  # `ModelRows.__getitems__` has padded it
    return made


def _deaf(_: int) -> None:
    """Leave it to the training to end when all its processes are told to: a step is finished."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def training_batches(
    rows: ModelRows,
    batch_size: int,
    seed: int,
    accumulate: int = 1,
    rank: int = 0,
    world: int = 1,
    beside: Beside = Beside(),
) -> DataLoader[Batch]:
    """Return shuffled length-grouped batches; the same seed gives the same epochs."""
    batches = LengthGrouped(rows.lengths, batch_size, seed, accumulate, rank, world, rows.answers)
    return DataLoader(
        rows,
        batch_sampler=batches,
        collate_fn=_as_is,
        num_workers=beside.workers,
        # Rows are large, and files that are mapped: what is forked shares them.
        multiprocessing_context="fork" if beside.workers else None,
        worker_init_fn=_deaf,
        pin_memory=beside.pinned,
    )


def scoring_batches(
    rows: ModelRows, batch_size: int = 128, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Return all rows once, shortest first, or this process's part of them."""
    sampler = SortedByLength(rows.lengths, min(batch_size, rows.at_once), rank, world)
    return DataLoader(rows, batch_sampler=sampler, collate_fn=_as_is)
