"""Printing comparisons in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distill_lab.results.compare import comparisons
from distill_lab.results.result import Result
from distill_lab.results.runs import collect
from distill_lab.results.tables import fitting, run_table

_WIDE = 160  # where nothing says how wide the page is, a table is not folded


def console() -> Console:
    """Return a console that does not fold tables when the output is a file or a pipe."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_WIDE)


def show_comparison(paths: Sequence[Path], out: Console | None = None) -> None:
    """Print the tables of all runs at or below some folders.

    Args:
        paths: Folders of runs or studies.
        out: Where to print; the terminal.

    Raises:
        DataError: If there are none.
    """
    out, collected = out or console(), collect(paths)
    for comparison in comparisons(collected.results):
        table, without = fitting(comparison, out)
        out.print(table)
        if without:
            told = f"no room for: {', '.join(without)} (--format csv has all)"
            out.print(told, markup=False, highlight=False)
    for line in collected.left_out():
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def show_run(result: Result, folder: Path) -> None:
    """Print the table of one run and where it lies."""
    out = console()
    out.print(run_table(result))
    out.print(f"kept in {folder}", markup=False, highlight=False, soft_wrap=True)
