"""Tables of the benchmarks, for the terminal and for the page that lies beside the script."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version

from rich.markup import escape
from rich.table import Table

Lines = list[list[str]]


def setting(*more: str) -> str:
    """Return the day, Python, torch, and what else is to be said about a measurement."""
    found = [str(date.today()), f"Python {platform.python_version()}", f"torch {version('torch')}"]
    return ", ".join([*found, *more])


def as_rich(title: str, head: Sequence[str], lines: Lines) -> Table:
    """Return a table for the terminal."""
    table = Table(title=title)
    for name in head:
        table.add_column(name, overflow="fold", no_wrap=len(name) < 4)
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def as_markdown(head: Sequence[str], lines: Lines) -> str:
    """Return a table for the documentation."""
    cells = [head, ["---"] * len(head), *([x.replace("|", "\\|") for x in row] for row in lines)]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
