"""Printing comparisons in the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

from rich.console import Console

from distill_lab.results import formats
from distill_lab.results.cells import Cell
from distill_lab.results.compare import comparisons
from distill_lab.results.paired import Tester
from distill_lab.results.published import Figure, published
from distill_lab.results.result import Result
from distill_lab.results.runs import Collected, collect
from distill_lab.results.tables import fidelity_table, fitting, run_table
from distill_lab.results.words import fidelity_in_words, figures_text, in_words

_BLANKS = re.compile(r"[ ]+$", re.MULTILINE)
_WIDE = 160  # where nothing says how wide the page is, a table is not folded


def console(*, error: bool = False) -> Console:
    """Return a console that does not fold tables when the output is a file or a pipe.

    Args:
        error: Whether it writes to the standard error.
    """
    terminal = Console(stderr=error)
    if terminal.is_terminal:
        return terminal
    trimmed = cast("IO[str]", _Trimmed(sys.stderr if error else sys.stdout))
    return Console(file=trimmed, width=_WIDE)


class _Trimmed:
    """A stream without the blanks that fill a table's lines up.

    Args:
        stream: Where it goes.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has: its encoding, its way to flush."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write lines."""
        return self.stream.write(_BLANKS.sub("", text))


def show_comparison(
    paths: Sequence[Path], form: str = "table", *, paper: bool = False, fidelity: bool = False
) -> None:
    """Print the comparisons of all runs at or below some folders.

    Args:
        paths: Folders of runs or studies.
        form: One of `formats.FORMATS`.
        paper: Whether published figures of the studies are added.
        fidelity: Whether a table of fidelity and calibration is added.

    Raises:
        DataError: If there are none.
    """
    collected = collect(paths)
    studies, tasks = ({getattr(r, name) for r in collected.results} for name in ("study", "task"))
    figures = published(studies, tasks) if paper else []
    if form == "table":
        _print(collected, figures, paper, fidelity)
        return
    sys.stdout.write(_text(collected, figures, form))
    if form != "json":  # which holds it
        for line in collected.left_out():
            print(line, file=sys.stderr)


def _text(collected: Collected, figures: Sequence[Figure], form: str) -> str:
    if form == "runs":
        return formats.runs(collected.results)
    found = comparisons(collected.results)
    if form == "csv":
        return formats.as_csv(found)
    if form == "json":
        return formats.as_json(found, collected.left_out(), figures)
    return (formats.markdown if form == "markdown" else formats.latex)(found, figures)


def _print(collected: Collected, figures: Sequence[Figure], paper: bool, fidelity: bool) -> None:
    out = console()
    for comparison in comparisons(collected.results):
        table, without = fitting(comparison, out)
        out.print(table)
        if without:
            _say(out, f"no room for: {', '.join(without)} (--format csv has all)")
        if fidelity:
            beside = fidelity_table(comparison)
            if beside is None:
                _say(out, "these runs tell nothing of fidelity: an earlier version made them")
            else:
                out.print(beside)
    lines = figures_text(figures)
    if paper and not lines:
        lines = ["published: no figures are kept for these studies (experiments/published.csv)"]
    for line in (*lines, *collected.left_out()):
        _say(out, line)


def show_run(result: Result, folder: Path) -> None:
    """Print the table of one run, whether its gain is more than chance, and where it lies."""
    out = console()
    out.print(run_table(result))
    tested = Tester([result.metric]).gains([Cell({}, [replace(result, folder=folder)])])
    for gain in tested[0].values():
        _say(out, in_words(result.metric, gain))
    for line in fidelity_in_words(result.fidelity):
        _say(out, line)
    here = Path.cwd()
    place = folder.relative_to(here) if folder.is_relative_to(here) else folder
    _say(out, f"kept in {place}; next: distill-lab report {place} -o report.html")


def _say(out: Console, line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
