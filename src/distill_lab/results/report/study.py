"""A study as the page shows it: what can be compared, what became of the rest, and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from distill_lab.results.compare import Comparison, Line, Spread, comparisons
from distill_lab.results.figures import number_of
from distill_lab.results.result import FILE, Result
from distill_lab.results.runs import Collected, collect

_SHORT = {"temperature": "T", "lam": "λ"}


@dataclass(frozen=True)
class Study:
    """All that a page tells.

    Attributes:
        name: Of the study, or of the studies.
        collected: The runs, and those that are left out.
        comparisons: One for each set of runs that can be compared.
        now: When the page was made.
        when: When the first and the last result were written; None if they lie in no folder.
    """

    name: str
    collected: Collected
    comparisons: Sequence[Comparison]
    now: datetime = field(default_factory=lambda: datetime.now().astimezone())
    when: tuple[datetime, datetime] | None = None

    @property
    def results(self) -> list[Result]:
        """The runs that are compared."""
        return self.collected.results


def read_study(paths: Sequence[Path]) -> Study:
    """Read the runs at or below some folders and compare them.

    Raises:
        DataError: If a folder is not there or holds no finished run.
    """
    collected = collect(paths)
    names = dict.fromkeys(result.study for result in collected.results)
    return Study(
        " and ".join(names) if len(names) <= 3 else f"{len(names)} studies",
        collected,
        comparisons(collected.results),
        when=_when(collected.results),
    )


def _when(results: Sequence[Result]) -> tuple[datetime, datetime] | None:
    times = [(run.folder / FILE).stat().st_mtime for run in results if run.folder]
    if not times:
        return None
    first, last = (datetime.fromtimestamp(time).astimezone() for time in (min(times), max(times)))
    return first, last


def metric_of(line: Line) -> str:
    """Return the name of the main metric."""
    return next(iter(line.metrics))


def score(line: Line) -> Spread:
    """Return the main metric on the evaluation split."""
    return line.metrics[metric_of(line)]


def named(line: Line) -> str:
    """Return what a setting is called: "T=4, λ=0.5"."""
    parts = (f"{short(key)}={value}" for key, value in line.label.items())
    return ", ".join(parts) or "the student"


def short(key: str) -> str:
    """Return what a setting is called where there is little room: T, λ, optim.lr."""
    key = key.removeprefix("objective.")
    return _SHORT.get(key, key)


def gained(line: Line) -> str:
    """Return the gain with its 95 % interval as text."""
    gain = line.gain
    if gain is None:
        return "no baseline"
    if gain.alike:
        return f"{gain.mean:+.4f}, no row differs"
    if gain.low is None or gain.high is None:
        return f"{gain.mean:+.4f}, no interval"
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def seeds(line: Line) -> str:
    """Return how many seeds a line has, in words."""
    return number_of(len(line.results), "seed")
