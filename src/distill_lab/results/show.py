"""Printing comparisons in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distill_lab.results.compare import collect, tables
from distill_lab.results.result import Result
from distill_lab.results.tables import run_table

_WIDE = 160  # where nothing says how wide the page is, a table is not folded


def console() -> Console:
    """Return a console that does not fold tables when the output is a file or a pipe."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_WIDE)


def show_comparison(paths: Sequence[Path]) -> None:
    """Print the tables of all runs at or below some folders.

    Raises:
        DataError: If there are none.
    """
    out, collected = console(), collect(paths)
    for table in tables(collected.results):
        out.print(table)
    for line in collected.left_out():
        out.print(line)


def show_run(result: Result, folder: Path) -> None:
    """Print the table of one run and where it lies."""
    out = console()
    out.print(run_table(result))
    out.print(f"kept in {folder}", highlight=False, soft_wrap=True)
