"""Files of rows: the endings that are read, looked at before any library that reads them."""

from __future__ import annotations

import os
from pathlib import Path

from distill_lab.errors import DataError

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def check_row_file(path: Path, more: str = "") -> None:
    """Refuse a file that is not there, or is none of rows.

    Args:
        path: The file.
        more: What else is said of a wrong ending.

    Raises:
        DataError: If so.
    """
    if not os.path.isfile(path):  # false, too, for a name that no file can have
        raise DataError(f"{path}: there is no such file")
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: the ending is none of {', '.join(ENDINGS)}{more}")
