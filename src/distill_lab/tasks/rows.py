"""Rows of text with labels, as read: before a tokeniser has seen them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError
from distill_lab.types import Problem

Ids = npt.NDArray[np.int64]


def spread(rows: int, count: int) -> list[int]:
    """Return positions of some rows, the first and the last among them."""
    return [int(at) for at in np.linspace(0, rows - 1, min(count, rows))]


@dataclass(frozen=True)
class Rows:
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

    def fingerprint(self) -> str:
        """Return 16 digits that change with any id, text or label."""
        state = hashlib.sha256()
        for position, row in enumerate(zip(self.ids, self.text, self.labels, strict=True)):
            pair = "" if self.pair is None else self.pair[position]
            state.update(repr((int(row[0]), row[1], pair, row[2].item())).encode())
        return state.hexdigest()[:16]


@dataclass(frozen=True)
class Splits:
    """A task's rows, divided.

    Attributes:
        train: What is trained on.
        selection: Carved from train; chooses epoch, T and λ.
        evaluation: Sets that are only reported, the main one first.
    """

    train: Rows
    selection: Rows
    evaluation: Mapping[str, Rows]

    def parts(self) -> dict[str, Rows]:
        """Return all parts by name."""
        return {"train": self.train, "selection": self.selection, **self.evaluation}

    def describe(self) -> str:
        """Return the number of rows of every part, for the log."""
        sizes = (f"{name} {len(rows):,}" for name, rows in self.parts().items())
        return ", ".join(sizes) + " rows"

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of every part."""
        return {name: rows.fingerprint() for name, rows in self.parts().items()}


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
    size = round(len(rows) * fraction)
    size = size if at_most is None else min(size, at_most)
    if not 0 < size < len(rows):
        raise DataError(
            f"{len(rows)} rows cannot be divided by a share of {fraction}: one part is empty"
        )
    order = np.random.default_rng(0).permutation(len(rows))
    return rows.take(np.sort(order[size:])), rows.take(np.sort(order[:size]))


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
    targets: list[float] = []
    for line, value in zip(lines, values, strict=True):
        target = _number(value) if regression else known.get(str(value))
        if target is None:
            names = ", ".join(problem.labels[:12])
            wanted = "a number" if regression else f"one of the labels {names}"
            raise DataError(f"{where}, line {line}: {str(value)!r} is not {wanted}")
        targets.append(target)
    if regression:
        return np.asarray(targets, dtype=np.float32)
    return np.asarray(targets, dtype=np.int64)


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None
