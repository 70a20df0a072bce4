"""JSON from files that others have written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from distill_lab.errors import DataError, first_line


def read_json(text: str | bytes) -> Any:
    """Return what a text of JSON holds.

    Args:
        text: As read.

    Raises:
        ValueError: If it is none, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_of(text: str, path: Path) -> Any:
    """Return what a file of JSON holds.

    Args:
        text: Of the file.
        path: The file, for errors.

    Raises:
        DataError: If it is none.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file ({first_line(error)})") from error


def json_lines(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the objects of a file that has one a line, with the number of the line.

    Args:
        lines: Of the file; blank ones are passed over.
        path: The file, for errors.

    Raises:
        DataError: If a line is no object.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not an object with named values")
        yield number, row
