"""Rows from the named columns of a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill_lab.errors import DataError, did_you_mean
from distill_lab.tasks.rows import Ids, Rows, parse_labels
from distill_lab.types import Problem

log = logging.getLogger(__name__)


def column(table: pd.DataFrame, name: str, key: str, path: Path) -> list[object]:
    """Return a column's values.

    Args:
        table: As read.
        name: Name of the column.
        key: Configuration key that names it, for the error.
        path: The file, for the error.

    Raises:
        DataError: If the table has no such column.
    """
    absent = _absent(table, name, key, path)
    if absent:
        raise DataError(absent)
    return list(table[name])


def _absent(table: pd.DataFrame, name: str, key: str, path: Path) -> str:
    there = [str(c) for c in table.columns]
    if name in there:
        return ""
    hint = did_you_mean(name, there)
    return f"{key}={name}: {path} has no such column{hint} (it has {', '.join(there[:12])})"


@dataclass(frozen=True)
class Columns:
    """Which columns hold what.

    Attributes:
        text: Column of the (first) text.
        label: Column of the label.
        pair: Column of the second text, or None.
    """

    text: str
    label: str
    pair: str | None = None

    def check(self, table: pd.DataFrame, path: Path) -> None:
        """Refuse a table that lacks columns; all of them are told.

        Args:
            table: As read.
            path: The file, for the error.

        Raises:
            DataError: If one is missing.
        """
        keys = {"task.text": self.text, "task.pair": self.pair, "task.label": self.label}
        asked = {key: name for key, name in keys.items() if name is not None}
        absent = [_absent(table, name, key, path) for key, name in asked.items()]
        if any(absent):
            raise DataError("\n".join(filter(None, absent)))

    def drop_incomplete(self, table: pd.DataFrame, path: Path) -> pd.DataFrame:
        """Leave out rows in which one of the columns is missing or empty, and say how many."""
        used = [name for name in (self.text, self.pair, self.label) if name in table.columns]
        whole = ~table[used].map(_is_blank).any(axis=1)
        if not whole.all():
            log.warning("%s: %d rows are incomplete and left out", path, (~whole).sum())
        kept: pd.DataFrame = table[whole]
        return kept


def to_rows(
    table: pd.DataFrame, path: Path, columns: Columns, problem: Problem, first_line: int = 2
) -> Rows:
    """Take the named columns of a table; a row's id is its position in the file.

    Args:
        table: As read.
        path: The file, for errors.
        columns: What to take.
        problem: Names the labels.
        first_line: Line of the first row in the file: 2 below a header, else 1.

    Raises:
        DataError: If a column is missing, a text is empty or a label is unknown.
    """
    columns.check(table, path)
    ids = table.index.to_numpy(dtype=np.int64)
    text = list(table[columns.text])
    pair = list(table[columns.pair]) if columns.pair else None
    label = labels(table, path, columns.label, first_line)
    lines = ids + first_line
    return Rows(
        ids,
        _texts(text, path, columns.text, lines),
        None if pair is None else _texts(pair, path, str(columns.pair), lines),
        parse_labels(label, problem, f"{path}, column {columns.label!r}", lines),
    )


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else pd.isna(value) is True


def labels(table: pd.DataFrame, path: Path, name: str, first_line: int = 2) -> list[object]:
    """Return the column of labels.

    Args:
        table: As read.
        path: The file, for errors.
        name: Name of the column.
        first_line: Line of the first row in the file.

    Raises:
        DataError: If there is no such column, or a row has no label.
    """
    values = column(table, name, "task.label", path)
    for line, value in zip(table.index + first_line, values, strict=True):
        if _is_blank(value):
            raise _blank(path, line, name, "label")
    return values


def _blank(path: Path, line: int, name: str, what: str) -> DataError:
    return DataError(
        f"{path}, line {line}: column {name!r} has no {what}; fill it,"
        " or leave such rows out with task.skip_incomplete=true"
    )


def _texts(values: list[object], path: Path, name: str, lines: Ids) -> list[str]:
    for line, value in zip(lines, values, strict=True):
        if not isinstance(value, str) or not value.strip():
            raise _blank(path, line, name, "text")
    return [str(value) for value in values]
