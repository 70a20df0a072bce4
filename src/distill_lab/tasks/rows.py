"""Rows of text with labels, as read: before a tokeniser has seen them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError
from distill_lab.types import Problem

Ids = npt.NDArray[np.int64]
_LINES = 3  # of a file, that are named


def spread(rows: int, count: int) -> list[int]:
    """Return positions of some rows, the first and the last among them."""
    return [int(at) for at in np.linspace(0, rows - 1, min(count, rows))]


class Part(ABC):
    """Something a task is trained on, chosen by or scored on, before a tokeniser has seen it."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return 16 digits that change with anything that is learned from or scored."""

    @abstractmethod
    def about(self) -> str:
        """Return how much there is, for people."""

    def texts(self) -> Iterator[str]:
        """Yield all texts, from which a tokeniser may be trained."""
        return iter(())

    def sample(self, count: int = 32) -> list[tuple[str, ...]]:
        """Return some texts, or pairs."""
        return []


@dataclass(frozen=True)
class Rows(Part):
    """Rows of one source file or set.

    Attributes:
        ids: Position of each row in its source, counted from 0; stays with the row.
        text: First text of each row.
        pair: Second text of each row, or None where the task has one text.
        labels: int64 class ids or float32 targets.
    """

    ids: Ids
    text: list[str]
    pair: list[str] | None
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Ids) -> Rows:
        """Return the rows at these positions, with their ids."""
        return Rows(
            self.ids[index],
            [self.text[i] for i in index],
            None if self.pair is None else [self.pair[i] for i in index],
            self.labels[index],
        )

    def sample(self, count: int = 32) -> list[tuple[str, ...]]:
        """Return texts, or pairs, of some rows from all over."""
        sides = [self.text] if self.pair is None else [self.text, self.pair]
        return [tuple(side[at] for side in sides) for at in spread(len(self), count)]

    def texts(self) -> Iterator[str]:
        """Yield all texts, the first of each row and then the second."""
        yield from self.text
        yield from self.pair or []

    def about(self) -> str:
        """Return the number of rows."""
        return f"{len(self):,} rows"

    def fingerprint(self) -> str:
        """Return 16 digits that change with any id, text or label."""
        state = hashlib.sha256()
        for position, row in enumerate(zip(self.ids, self.text, self.labels, strict=True)):
            pair = "" if self.pair is None else self.pair[position]
            state.update(repr((int(row[0]), row[1], pair, row[2].item())).encode())
        return state.hexdigest()[:16]


@dataclass(frozen=True)
class Splits:
    """What a task is trained on and scored on, divided.

    Attributes:
        train: What is trained on.
        selection: Carved from train; chooses epoch, T and λ.
        evaluation: Sets that are only reported, the main one first.
        teacher_train: What the teacher is trained on, where the student's transfer set is another.
    """

    train: Part
    selection: Part
    evaluation: Mapping[str, Part]
    teacher_train: Part | None = None

    def parts(self) -> dict[str, Part]:
        """Return all parts by name."""
        parts = {"train": self.train, "selection": self.selection, **self.evaluation}
        return parts if self.teacher_train is None else {**parts, "teacher": self.teacher_train}

    def describe(self) -> str:
        """Return how much every part has, for the log."""
        return ", ".join(f"{name} {part.about()}" for name, part in self.parts().items())

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of every part."""
        return {name: rows.fingerprint() for name, rows in self.parts().items()}


UNLABELLED = -100
"""Label of a row that has none; the hard loss leaves it out."""


def has_label(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which rows have a label; a number that is none stands for a target that is not known."""
    known = ~np.isnan(labels) if labels.dtype.kind == "f" else labels != UNLABELLED
    return np.asarray(known, dtype=bool)


def unlabelled(rows: Rows) -> Rows:
    """Return the rows without their labels."""
    nothing = np.nan if rows.labels.dtype.kind == "f" else UNLABELLED
    return replace(rows, labels=np.full_like(rows.labels, nothing))


def joined(first: Rows, second: Rows) -> Rows:
    """Return the rows of both, whose ids must differ."""
    pair = None if first.pair is None else [*first.pair, *(second.pair or [])]
    return Rows(
        np.concatenate([first.ids, second.ids]),
        [*first.text, *second.text],
        pair,
        np.concatenate([first.labels, second.labels]),
    )


def carve(rows: Rows, fraction: float, at_most: int | None = None) -> tuple[Rows, Rows]:
    """Divide rows into the rest and a random part that is the same in every run.

    Args:
        rows: What to divide.
        fraction: Share of the part, between 0 and 1.
        at_most: Upper bound of the part's rows.

    Returns:
        The rest and the part, both in their original order.

    Raises:
        DataError: If one of the two would be empty.
    """
    rest, part = drawn_part(len(rows), fraction, at_most)
    return rows.take(rest), rows.take(part)


def drawn_part(rows: int, fraction: float, at_most: int | None = None) -> tuple[Ids, Ids]:
    """Return the places of the rest and of a random part that is the same in every run.

    Args:
        rows: How many there are.
        fraction: Share of the part, between 0 and 1.
        at_most: Upper bound of the part's rows.

    Raises:
        DataError: If one of the two would be empty.
    """
    size = round(rows * fraction)
    size = size if at_most is None else min(size, at_most)
    if not 0 < size < rows:
        raise DataError(
            f"{rows} rows cannot be divided by a share of {fraction}: one part is empty; give more"
            " rows, or another share (task.selection, task.evaluation)"
        )
    order = np.random.default_rng(0).permutation(rows)
    return np.sort(order[size:]), np.sort(order[:size])


def parse_labels(
    values: Sequence[object], problem: Problem, where: str, lines: Ids
) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
    """Turn a column of label names, label ids or numbers into targets.

    Args:
        values: As read, text or numbers.
        problem: Names the labels, or says that they are numbers.
        where: File and column, for the error.
        lines: Line of each value in the file, for the error.

    Raises:
        DataError: At the first value that is no label of the problem.
    """
    regression = problem.kind == "regression"
    known = {name: index for index, name in enumerate(problem.labels)}
    if not any(name.isdecimal() for name in problem.labels):  # else a number is a name
        known |= {str(index): index for index in range(problem.num_labels)}
    read = [_number(value) if regression else known.get(str(value)) for value in values]
    targets = [target for target in read if target is not None]
    if len(targets) < len(read):
        at = [place for place, target in enumerate(read) if target is None]
        names = ", ".join(problem.labels[:12])
        wanted = "a number" if regression else f"one of the labels {names}"
        rest = f", nor are {len(at) - 1} more" if len(at) > 1 else ""
        raise DataError(
            f"{where}, line {lines[at[0]]}: {str(values[at[0]])!r} is not {wanted}{rest}"
        )
    if regression:
        return np.asarray(targets, dtype=np.float32)
    return np.asarray(targets, dtype=np.int64)


def in_lines(numbers: Sequence[int]) -> str:
    """Return lines of a file in words: "line 3", "lines 3, 5 and 7", "lines 3, 5, 7 and 9 more"."""
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    first = [str(number) for number in numbers[:_LINES]]
    *most, last = first if len(numbers) <= _LINES else [*first, f"{len(numbers) - _LINES} more"]
    return f"lines {', '.join(most)} and {last}"


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None
