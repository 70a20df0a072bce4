"""Reading tables from files: official GLUE TSV, CSV, JSON lines, parquet."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from distill_lab.errors import ConfigError, DataError, first_line
from distill_lab.plain_json import json_lines
from distill_lab.row_files import check_row_file

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
    check_row_file(path, "; rows need columns with names")
    return _read(path, readers[path.suffix])


def read_glue_tsv(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a file of the official GLUE download: tab-separated, quotes literal, maybe a BOM.

    Args:
        path: The file.
        columns: Names of the columns where the file has no header (CoLA).

    Raises:
        DataError: As `read_table`.
    """
    check_row_file(path)
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
    _check_separator(path, separator)
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _check_separator(path: Path, separator: str) -> None:
    """Refuse a file whose header has another separator than the one of its ending.

    Raises:
        DataError: If so.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    other = next((sign for sign in (";", "\t", "|", ",") if sign in header), None)
    if separator not in header and other is not None:
        raise DataError(
            f"{path}: its columns seem to be separated by {other!r}; a .csv is read with commas, a"
            " .tsv with tabs, so save it as one of them"
        )


def _read_json_lines(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        found: pd.DataFrame = pd.DataFrame([row for _, row in json_lines(file, path)])
    return found


def _read_parquet(path: Path) -> pd.DataFrame:
    """An index that was saved along is a column if it has a name, and else means nothing."""
    table = pd.read_parquet(path)
    found: pd.DataFrame = table.reset_index(drop=list(table.index.names) == [None])
    return found


def _read(path: Path, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        table = read()
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}); convert it, for example with iconv"
        ) from error
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(_unreadable(path, first_line(error))) from error
    if table.empty:
        raise DataError(f"{path}: the file has no rows")
    return table


def _unreadable(path: Path, reason: str) -> str:
    """Return what is wrong with a file, by line where pandas tells it."""
    many = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", reason)
    if many:
        return (
            f"{path}, line {many[2]}: {many[3]} columns where the header has {many[1]}; put a text"
            " that holds the separator in quotes, and the names of the columns into the first line"
        )
    opened = re.search(r"EOF inside string starting at row (\d+)", reason)
    if opened:
        return f"{path}, line {int(opened[1]) + 1}: a quote opens here and is never closed"
    return f"{path}: not a readable {path.suffix[1:]} file ({reason})"
