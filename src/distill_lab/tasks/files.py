"""Reading tables from files: official GLUE TSV, CSV, JSON lines, parquet."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill_lab.errors import ConfigError, DataError, did_you_mean
from distill_lab.plain_json import read_json
from distill_lab.tasks.rows import Ids, Rows, parse_labels
from distill_lab.types import Problem

log = logging.getLogger(__name__)


def data_folder(name: str | None) -> Path | None:
    """Return the folder of `task.data_dir`; None for the hub.

    Raises:
        ConfigError: If it is not there.
    """
    if name is not None and not os.path.isdir(name):
        raise ConfigError(f"task.data_dir={name}: there is no such folder")
    return None if name is None else Path(name)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV, JSON-lines or parquet file; text stays as it is written.

    Raises:
        DataError: If the file is missing, empty, not UTF-8, or not what its ending says.
    """
    readers = {
        ".csv": lambda: _read_csv(path, ","),
        ".tsv": lambda: _read_csv(path, "\t"),
        ".jsonl": lambda: _read_json_lines(path),
        ".json": lambda: _read_json_lines(path),
        ".parquet": lambda: _read_parquet(path),
    }
    if path.suffix not in readers:
        raise DataError(f"{path}: the ending is none of {', '.join(readers)}")
    return _read(path, readers[path.suffix])


def read_glue_tsv(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a file of the official GLUE download: tab-separated, quotes literal, maybe a BOM.

    Args:
        path: The file.
        columns: Names of the columns where the file has no header (CoLA).

    Raises:
        DataError: As `read_table`.
    """
    table = _read(
        path,
        lambda: pd.read_csv(
            path,
            sep="\t",
            header=0 if columns is None else None,
            names=list(columns) if columns else None,
            quoting=csv.QUOTE_NONE,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            lineterminator="\n",
            skip_blank_lines=False,
        ),
    )
    # Files that were saved on Windows: the carriage return clings to the last column.
    table.columns = [str(name).rstrip("\r") for name in table.columns]
    last = table.columns[-1]
    table[last] = table[last].str.rstrip("\r")
    return table


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = list[dict[str, Any]]()
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = read_json(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number}: not an object with named values")
            rows.append(row)
    found: pd.DataFrame = pd.DataFrame(rows)
    return found


def _read_parquet(path: Path) -> pd.DataFrame:
    """An index that was saved along is a column if it has a name, and else means nothing."""
    table = pd.read_parquet(path)
    found: pd.DataFrame = table.reset_index(drop=list(table.index.names) == [None])
    return found


def _read(path: Path, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if not os.path.isfile(path):  # false, too, for a name that no file can have
        raise DataError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        table = read()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}); convert it, for example with iconv"
        ) from error
    except (ValueError, OSError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: not a readable {path.suffix[1:]} file ({reason})") from error
    if table.empty:
        raise DataError(f"{path}: the file has no rows")
    return table


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
    names = [str(c) for c in table.columns]
    if name not in names:
        raise DataError(
            f"{key}={name}: {path} has no such column{did_you_mean(name, names)}"
            f" (it has {', '.join(names[:12])})"
        )
    return list(table[name])


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
    ids = table.index.to_numpy(dtype=np.int64)
    text = column(table, columns.text, "task.text", path)
    pair = column(table, columns.pair, "task.pair", path) if columns.pair else None
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
