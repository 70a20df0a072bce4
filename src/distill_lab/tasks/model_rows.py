"""Rows as models read them: a list of positions gives a batch."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from distill_lab.tasks.rows import Ids
from distill_lab.types import Batch

Own = TypeVar("Own", bound="ModelRows")
_AT_ONCE = 2**27  # logits


class ModelRows(Dataset[Batch], ABC):
    """Rows of one part of a task.

    Args:
        ids: Stable row ids `[rows]`.
        labels: Class ids or targets `[rows]`, or `[rows, answers]` where a row has several.
    """

    for_teacher: ModelRows | None = None
    """The same rows as the teacher reads them, where its tokeniser is another."""

    def __init__(self, ids: Ids, labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]) -> None:
        self.ids = ids
        self.labels = labels

    def __len__(self) -> int:
        return len(self.ids)

    @property
    @abstractmethod
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row, `[rows]`; rows of similar length are batched together."""

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.lengths.sum())

    @property
    def at_once(self) -> int:
        """How many rows are scored at once, at most."""
        return len(self)

    @property
    def drawn(self) -> str:
        """Why rows are not the same in each epoch; empty where they are."""
        return ""

    @property
    def distinct(self) -> ModelRows:
        """The rows as often as they differ from epoch to epoch, where that has an end."""
        return self

    @property
    def things(self) -> int:
        """How many things are asked, for people; a row may be only a part of one."""
        return len(self)

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """How many answers each row has, `[rows]`."""
        return np.full(len(self), self.labels[:1].size, dtype=np.int64)

    def positions(self, ids: Ids) -> Ids:
        """Return where the rows with these ids stand."""
        order = np.argsort(self.ids, kind="stable")
        return order[np.searchsorted(self.ids, ids, sorter=order)]

    def labelled(self) -> ModelRows:
        """Return the rows that have a label."""
        return self

    def beside(self: Own, for_teacher: ModelRows) -> Own:
        """Return these rows with what the teacher reads of them."""
        both = copy.copy(self)
        both.for_teacher = for_teacher
        return both

    def tokens_of(self, position: int) -> npt.NDArray[np.int64]:
        """Return the tokens of a row; none where it is no text."""
        return np.zeros(0, dtype=np.int64)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    @abstractmethod
    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the rows at these positions as one batch, padded to its longest."""

    @abstractmethod
    def padded(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return the models' inputs for these rows."""


def rows_at_once(rows: ModelRows, words: int) -> int:
    """Return how many rows of words are scored at once: their logits take half a GiB.

    Args:
        rows: Some have more answers than others.
        words: Of the vocabulary.
    """
    return max(1, _AT_ONCE // (words * int(rows.answers.max(initial=1))))
