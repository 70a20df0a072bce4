"""How far a sweep is: one line, with the time left; and what failed, as a table."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from distill_lab.launch.jobs import Job

log = logging.getLogger(__name__)


class Progress:
    """Tells when jobs begin and end, and how long the others will take.

    Args:
        jobs: Those that are to run.
        of: How many the line has, finished ones too.
        at_once: How many run at a time; beside each other they are silent, and a bar is shown.
    """

    def __init__(self, jobs: Sequence[Job], of: int, at_once: int) -> None:
        self.jobs = len(jobs)
        self.of = of
        self.at_once = at_once
        self.ended = 0
        self._taken: list[float] = []
        self._since: dict[int, float] = {}
        self._bar: Bar | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Progress:
        console = Console(stderr=True)
        if self.at_once > 1 and console.is_terminal and self.jobs:
            self._bar = Bar(
                TextColumn("sweep"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("jobs{task.fields[left]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.jobs, left="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begun(self, job: Job) -> None:
        """Say that a job begins."""
        self._since[job.number] = time.monotonic()
        log.info("job %d/%d%s: %s", job.number, self.of, self.left(), job.title)

    def over(self, job: Job, reason: str | None) -> None:
        """Say how a job ended.

        Args:
            job: One that has begun.
            reason: Why it failed; None if it did not.
        """
        seconds = time.monotonic() - self._since[job.number]
        self.ended += 1
        self._taken.append(seconds)
        if reason is not None:
            log.error("job %d/%d failed: %s", job.number, self.of, reason)
        elif self.at_once > 1:
            score = job.score()
            told = "ended early" if score is None else f"{score:.4f}"
            log.info("job %d/%d: %s in %.0f s", job.number, self.of, told, seconds)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.ended, left=self.left())

    def left(self) -> str:
        """Return how long the jobs that have not ended will take, or an empty string."""
        # The first ones may also train the teacher; only later ones tell.
        told = self._taken[self.at_once :]
        if not told:
            return ""
        minutes = statistics.median(told) * (self.jobs - self.ended) / self.at_once / 60
        return f" ({in_words(minutes)} left)"


def in_words(minutes: float) -> str:
    """Return a time as people say it."""
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes:.0f} min" if minutes < 100 else f"about {minutes / 60:.1f} hours"


def failures(failed: Iterable[tuple[Job, str]]) -> Table:
    """Return the table of the jobs that failed, each with the reason."""
    table = Table(box=box.SIMPLE_HEAD, title="Failed", title_justify="left")
    table.add_column("job", overflow="fold")
    table.add_column("why", overflow="fold")
    for job, reason in failed:
        table.add_row(escape(job.title), escape(reason))
    return table
