"""The report as markdown, for repositories and papers; its pictures are PNG files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from distill_lab import __version__
from distill_lab.results.report import words
from distill_lab.results.report.figure import Entry, Figure, Grid, View
from distill_lab.results.report.page import Page
from distill_lab.results.report.run_rows import said_of_command

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~!&$@])")
Files = Mapping[str, Sequence[tuple[View, Path]]]


def as_markdown(page: Page, files: Files, place: Path) -> str:
    """Return the report.

    Args:
        page: What is told.
        files: Views and their pictures by the figures' names.
        place: Folder of the file that is written, from which pictures are named.
    """
    lines = [f"# {plain(page.study.name)}", ""]
    lines += [f"- {name}: {plain(value)}" for name, value in words.facts(page.study).items()]
    many = len(page.sections) > 1
    for section in page.sections:
        lines += ["", f"## {plain(section.title)}", ""]
        lines += [plain(section.apart), ""] if section.apart else []
        lines += [*map(plain, section.summary), "", *table(section.table)]
        for drawn in section.figures:
            name = f"{section.key}_{drawn.key}" if many else drawn.key
            lines += _figure(drawn, files.get(name, []), place, 3)
    for front in page.fronts:
        lines += _figure(front, files.get(front.key, []), place, 2)
    lines += _runs(page)
    for title, told in words.left_out(page.study):
        lines += ["", f"## {plain(title)}", "", *(f"- {plain(line)}" for line in told)]
    lines += ["", f"Made by distill-lab {__version__}.", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def plain(value: object) -> str:
    """Return a text of the user's as markdown shows it letter by letter, in one line."""
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def table(grid: Grid) -> list[str]:
    """Return a table with its caption."""
    heads = [plain(name) for name in grid.headings]
    sides = [":--" if at in grid.words else "--:" for at in range(len(heads))]
    rows = [[plain(_shown(entry)) for entry in row] for row in grid.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in [heads, sides, *rows]]
    return [*lines, "", plain(grid.caption)]


def _shown(entry: Entry) -> str:
    return entry[0] if isinstance(entry, tuple) else entry


def _figure(
    drawn: Figure, files: Sequence[tuple[View, Path]], place: Path, level: int
) -> list[str]:
    lines = ["", f"{'#' * level} {plain(drawn.title)}", "", *map(plain, drawn.about)]
    for view, file in files:
        link = quote(Path(relpath(file, place)).as_posix())
        lines += ["", f"![{plain(view.sentence)}]({link})", "", plain(view.sentence)]
    return lines


def _runs(page: Page) -> list[str]:
    lines = ["", "## Runs", "", "| run | settings | status | score | command |",
             "| :-- | :-- | :-- | --: | :-- |"]  # fmt: skip
    for row in page.runs:
        told = said_of_command(row)
        command = f"<code>{plain(told)}</code>" if row.command else plain(told)
        score = "" if row.student is None else f"{row.student:.4f}"
        cells = [plain(row.name), plain(row.settings), row.status, score, command]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
