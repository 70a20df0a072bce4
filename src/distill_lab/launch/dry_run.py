"""What a line would do, told without doing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from distill_lab.disk import in_bytes
from distill_lab.launch.forecast import Foreseen, Kind, Piece
from distill_lab.launch.jobs import Job
from distill_lab.launch.progress import in_words

_KINDS: Mapping[Kind, str] = {
    "teacher": "teachers to fine-tune",
    "answers": "answers to write, unless they are there",
    "signals": "signals to compute",
    "student": "students",
    "baseline": "baselines, at most",
}


def jobs_table(jobs: Sequence[Job], foreseen: Mapping[int, Foreseen]) -> Table:
    """Return the table of all jobs and what becomes of each.

    Args:
        jobs: Those of the line.
        foreseen: What is known of those that would run, by number.
    """
    table = Table(box=box.SIMPLE_HEAD, title="Jobs", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("job", overflow="fold")
    table.add_column("would", overflow="fold")
    for job in jobs:
        table.add_row(str(job.number), escape(job.title), _state(job, foreseen))
    return table


def _state(job: Job, foreseen: Mapping[int, Foreseen]) -> str:
    if job.number not in foreseen:
        return "be skipped, it is finished"
    if job.finished:
        return "run again, its settings have changed"
    return "run again, it did not finish" if job.folder.is_dir() else "run"


def cost_table(foreseen: Iterable[Foreseen]) -> Table:
    """Return what has to be computed, with an estimate of time and disk; shared pieces once."""
    unique = {(p.kind, p.key): p for each in foreseen for p in each.pieces}
    table = Table(box=box.SIMPLE_HEAD, title="To compute", title_justify="left")
    for heading in ("", "of what", "number", "in the store", "time", "disk"):
        table.add_column(heading, justify="left" if heading in ("", "of what") else "right")
    todo = list[Piece]()
    for kind, name in _KINDS.items():
        for about in dict.fromkeys(p.about for p in unique.values() if p.kind == kind):
            pieces = [p for p in unique.values() if (p.kind, p.about) == (kind, about)]
            missing = [p for p in pieces if not p.stored]
            todo += missing
            found = str(len(pieces) - len(missing)) if kind in ("teacher", "signals") else ""
            table.add_row(name, escape(about), str(len(missing)), found, *_cost(missing))
    table.add_section()
    table.add_row("together", "", "", "", *_cost(todo))
    return table


def _cost(pieces: Sequence[Piece]) -> tuple[str, str]:
    if not pieces:
        return "", ""
    seconds, size = sum(p.seconds for p in pieces), sum(p.bytes for p in pieces)
    return in_words(seconds / 60), in_bytes(size)
