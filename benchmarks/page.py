"""Tables of the benchmarks, for the terminal and for the page that lies beside the script."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from distill_lab.results.show import console

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


def show(
    path: Path | None,
    module: str,
    said: str,
    about: str | None,
    tables: list[tuple[str, list[str], Lines]],
) -> None:
    """Print what a benchmark found, and write its page if a file is named; see `write_page`."""
    screen = console()
    screen.print(said)
    for title, head, lines in tables:
        screen.print(as_rich(title, head, lines))
    if path:
        write_page(path, module, said, about, tables)


def write_page(
    path: Path,
    module: str,
    said: str,
    about: str | None,
    tables: list[tuple[str, list[str], Lines]],
) -> None:
    """Write the page of a benchmark.

    Args:
        path: The file.
        module: What is run as `python -m`.
        said: Setting of the measurement.
        about: The module's docstring: its first line is the title, its last paragraph the command.
        tables: Title, head and lines of each.
    """
    title, explained = (about or "").split("\n\n", 1)
    parts = [f"# {title.rstrip('.')}\n", f"Made by `python -m {module}`. {said}.\n"]
    parts.append(explained.rsplit("\n\n", 1)[0] + "\n")
    for name, head, lines in tables:
        parts += [f"## {name}\n", as_markdown(head, lines)]
    path.write_text("\n".join(parts), encoding="utf-8")
