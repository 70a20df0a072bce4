"""Texts of the rows, read again from the task's own files: only where they were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from distill_lab.errors import UsageError

if TYPE_CHECKING:
    from distill_lab.tasks.rows import Rows


@dataclass(frozen=True)
class Texts:
    """What was read.

    Attributes:
        by_split: Text of each row by evaluation set and stable row id; a pair is one text.
        fault: Why there are none.
    """

    by_split: dict[str, dict[int, str]] = field(default_factory=dict)
    fault: str = ""


def read_texts(folder: Path) -> Texts:
    """Return the texts of a run's evaluation rows.

    Args:
        folder: The run's, with the `config.yaml` that names its files.
    """
    from distill_lab.config import build, check
    from distill_lab.serving.origin import read_config
    from distill_lab.tasks.rows import Rows

    try:
        config = read_config(folder)
        check(config)
        evaluation = build(config.task).load().evaluation
    except UsageError as error:
        return Texts(fault=str(error))
    found = {
        split: dict(zip((int(row) for row in rows.ids), _joined(rows), strict=True))
        for split, rows in evaluation.items()
        if isinstance(rows, Rows)
    }
    return Texts(found, "" if found else "the rows of this task are no texts")


def _joined(rows: Rows) -> list[str]:
    if rows.pair is None:
        return list(rows.text)
    return [f"{first} | {second}" for first, second in zip(rows.text, rows.pair, strict=True)]
