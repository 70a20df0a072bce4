"""Rows from the named columns of a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill_lab.errors import DataError, did_you_mean
from distill_lab.tasks.rows import Ids, Rows, in_lines, parse_labels
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

    def check(self, table: pd.DataFrame, path: Path, first_line: int = 2) -> None:
        """Refuse a table that lacks columns, or cells of them; all faults are told.

        Args:
            table: As read.
            path: The file, for the error.
            first_line: Line of the first row in the file: 2 below a header, else 1.

        Raises:
            DataError: If something is missing.
        """
        keys = {"task.text": self.text, "task.pair": self.pair, "task.label": self.label}
        asked = {key: name for key, name in keys.items() if name is not None}
        faults = [_absent(table, name, key, path) for key, name in asked.items()]
        if not any(faults):
            lines = table.index.to_numpy(dtype=np.int64) + first_line
            faults = [
                _blank(list(table[name]), lines, path, name, key.partition(".")[2])
                for key, name in asked.items()
            ]
        if any(faults):
            raise DataError("\n".join(filter(None, faults)))

    def drop_incomplete(self, table: pd.DataFrame, path: Path) -> pd.DataFrame:
        """Leave out rows in which one of the columns is missing or empty, and say how many."""
        used = [name for name in (self.text, self.pair, self.label) if name in table.columns]
        whole = ~table[used].map(_is_blank).any(axis=1)
        if not whole.all():
            log.warning("%s: incomplete rows left out: %d", path, (~whole).sum())
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
    columns.check(table, path, first_line)
    ids = table.index.to_numpy(dtype=np.int64)
    return Rows(
        ids,
        [str(text) for text in table[columns.text]],
        None if columns.pair is None else [str(text) for text in table[columns.pair]],
        parse_labels(
            list(table[columns.label]), problem, f"{path}, column {columns.label!r}",
            ids + first_line,
        ),
    )  # fmt: skip


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else pd.isna(value) is True


def _blank(values: list[object], lines: Ids, path: Path, name: str, role: str) -> str:
    """Return where a column has no value; texts have to be texts."""
    texts = role != "label"
    without = [
        int(line)
        for line, value in zip(lines, values, strict=True)
        if _is_blank(value) or (texts and not isinstance(value, str))
    ]
    if not without:
        return ""
    what = "text" if texts else "label"
    return (
        f"{path}, {in_lines(without)}: column {name!r} has no {what}; fill it, or leave such rows"
        " out with task.skip_incomplete=true"
    )
