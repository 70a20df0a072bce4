"""What models read while they are measured: a task's rows, or rows of fixed lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distill_lab.bench.passes import Arrays, Passes
from distill_lab.errors import DataError
from distill_lab.store import Store, digest
from distill_lab.tasks import Task
from distill_lab.tasks.batching import SortedByLength
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Problem

SINGLE, BATCHES = 50, 4


class Texts(Protocol):
    """Rows that every model reads, each by its own tokeniser."""

    @property
    def name(self) -> str:
        """What tables call them."""
        ...

    @property
    def problem(self) -> Problem | None:
        """What is asked of them; None where nothing is."""
        ...

    def read_by(
        self, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None, batch_size: int
    ) -> Passes:
        """Return what a model reads of them.

        Raises:
            DataError: If it cannot read them.
        """
        ...


class TaskTexts:
    """The evaluation rows of a task.

    Rows are taken evenly from all of them in order of length, batches evenly from those in which
    the lab scores them. The first model that reads them decides which; others read the same ones.

    Args:
        task: Reads them.
        store: Keeps them as tokens.
    """

    def __init__(self, task: Task, store: Store) -> None:
        self.task = task
        self.store = store
        self.splits = task.load()
        self.set = next(iter(self.splits.evaluation))
        self._chosen: tuple[npt.NDArray[np.int64], list[int], list[list[int]]] | None = None

    @property
    def name(self) -> str:
        """Task and set."""
        return f"{self.task.name}: {self.set}"

    @property
    def problem(self) -> Problem:
        """What the task asks."""
        return self.task.problem

    def read_by(
        self, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None, batch_size: int
    ) -> Passes:
        """Return what a model reads of them.

        Raises:
            DataError: If it has no tokeniser, and the rows are text.
        """
        text = self.problem.reads == "text"
        if text and tokenizer is None:
            raise DataError(f"it has no tokeniser, and {self.name} is text; take --lengths")
        rows = self.task.encode(self.splits, tokenizer, self.store).evaluation[self.set]
        ids, single, batches = self._choose(rows, batch_size)
        print_ = digest([self.splits.fingerprints[self.set], self.task.max_length, single, batches])
        if not np.array_equal(rows.ids, ids):  # cut into other pieces: take its own
            single, batches = choose(rows, batch_size)
        order = np.argsort(rows.lengths, kind="stable")
        middle = int(order[len(order) // 2])
        chosen = sorted({*single, *(at for batch in batches for at in batch)})
        return Passes(
            [_arrays(rows, [at]) for at in single],
            [_arrays(rows, batch) for batch in batches],
            _arrays(rows, [middle]),
            {
                "name": self.name,
                "fingerprint": print_,
                "single": len(single),
                "batched": sum(map(len, batches)),
                "median_length": int(rows.lengths[middle]) if text else None,
            },
            max(map(len, batches)),
            int(rows.lengths[chosen].max()) if text else 0,
        )

    def _choose(
        self, rows: ModelRows, batch_size: int
    ) -> tuple[npt.NDArray[np.int64], list[int], list[list[int]]]:
        if self._chosen is None:
            self._chosen = (rows.ids, *choose(rows, batch_size))
        return self._chosen


class FixedTexts:
    """Rows of some lengths, of random tokens and without padding.

    Args:
        lengths: Tokens of the rows; each is read as often as the others.
    """

    problem = None

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = sorted(lengths)

    @property
    def name(self) -> str:
        """The lengths."""
        return f"lengths {','.join(map(str, self.lengths))}"

    def read_by(
        self, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None, batch_size: int
    ) -> Passes:
        """Return rows of random tokens of a model's vocabulary.

        Raises:
            DataError: If it reads no text.
        """
        words = getattr(config, "vocab_size", None)
        if not words:
            raise DataError("it reads no text; name a run with such rows by --rows")
        draw = np.random.default_rng(0)
        special = {getattr(config, "pad_token_id", None)}
        special |= set() if tokenizer is None else set(tokenizer.all_special_ids)
        allowed = np.asarray([word for word in range(words) if word not in special], dtype=np.int64)

        def rows(count: int, length: int) -> Arrays:
            mask = np.ones((count, length), dtype=np.int64)
            return {"input_ids": draw.choice(allowed, (count, length)), "attention_mask": mask}

        each = -(-SINGLE // len(self.lengths))
        single = [rows(1, length) for _ in range(each) for length in self.lengths]
        batches = [rows(batch_size, length) for length in self.lengths]
        median = self.lengths[len(self.lengths) // 2]
        count = batch_size * len(batches)
        told = {"single": len(single), "batched": count, "median_length": median}
        print_ = digest([self.lengths, batch_size, each])
        rows_ = {"name": self.name, "fingerprint": print_, **told}
        return Passes(single, batches, rows(1, median), rows_, batch_size, max(self.lengths))


def choose(rows: ModelRows, batch_size: int) -> tuple[list[int], list[list[int]]]:
    """Return positions of rows to be read alone, and of batches, from all over the lengths.

    Args:
        rows: All rows.
        batch_size: Rows of a batch, at most; those that the lab itself would score at once.
    """
    batches = SortedByLength(rows.lengths, min(batch_size, rows.at_once))
    single = [int(batches.order[at]) for at in evenly(len(rows), SINGLE)]
    listed = list(batches)
    return single, [listed[at] for at in evenly(len(listed), BATCHES)]


def evenly(count: int, some: int) -> list[int]:
    """Return positions in the middles of equal parts of a list, all of a short one."""
    some = min(count, some)
    return [int((at + 0.5) * count / some) for at in range(some)]


def _arrays(rows: ModelRows, positions: Sequence[int]) -> Arrays:
    return {name: values.numpy() for name, values in rows.padded(positions).items()}
