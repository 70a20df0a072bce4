"""Where a loop spends what another loop, which does the same work, does not."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.table import Table

from benchmarks.page import Lines, as_rich
from benchmarks.timing import Stopwatch

TOP = 40
OWN, WHOLE = "own µs a step", "with what it calls"
Function = tuple[str, int, str]
Spent = dict[Function, tuple[float, float, int]]
"""By function: own seconds, seconds with what it calls, calls."""


def profiled(
    student: str, ours: Callable[[], Stopwatch], bare: Callable[[], Stopwatch], cpu: bool = False
) -> Iterator[Table]:
    """Profile the steps of both loops and tell what differs.

    The profiler makes every call of a Python function dearer, so that the numbers are shares, and
    their sum is more than the overhead without it. Arithmetic, which both do alike and whose noise
    is larger than what is sought, is left out.

    Args:
        student: Its sizes, for the titles.
        ours: A training by the lab.
        bare: The same in a bare loop.
        cpu: Whether to count computing alone.

    Yields:
        Own time beyond the bare loop by package, by function, and by function with what it calls.
    """
    ours(), bare()  # what only the first time costs
    (long, steps), (short, _) = _spent(ours, cpu), _spent(bare, cpu)
    more = {name: _beyond(long[name], short.get(name)) for name in long if not _computes(name)}
    packages = defaultdict[str, list[float]](lambda: [0.0, 0.0])
    for function, (own, _, calls) in more.items():
        package = _said(function).partition("/")[0] if function[0] != "~" else "built in"
        packages[package][0] += own * 1e6 / steps
        packages[package][1] += calls / steps
    best = sorted(packages.items(), key=lambda item: -item[1][0])
    found = [[name, f"{own:.0f}", f"{calls:.1f}"] for name, (own, calls) in best]
    head = ["function", OWN, WHOLE, "calls a step"]
    yield as_rich(f"{student}: beyond the bare loop", ["package", OWN, head[-1]], found)
    for place, title in enumerate((OWN, WHOLE)):
        most = sorted(more.items(), key=lambda item: -item[1][place])[:TOP]
        yield as_rich(f"{student}: beyond the bare loop, by {title}", head, _lines(most, steps))


def _computes(function: Function) -> bool:
    path, _, name = function
    return path == "~" and ("torch" in name or "Tensor" in name)


def _beyond(
    ours: tuple[float, float, int], bare: tuple[float, float, int] | None
) -> tuple[float, float, int]:
    other = bare or (0.0, 0.0, 0)
    return ours[0] - other[0], ours[1] - other[1], ours[2] - other[2]


def _spent(run: Callable[[], Stopwatch], cpu: bool) -> tuple[Spent, int]:
    profile = cProfile.Profile(time.process_time if cpu else time.perf_counter)
    Stopwatch.profile = profile
    try:
        watch = run()
    finally:
        Stopwatch.profile = None
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    spent = {name: (own, whole, calls) for name, (_, calls, own, whole, _) in stats.items()}
    return spent, watch.steps


def _lines(best: list[tuple[Function, tuple[float, float, int]]], steps: int) -> Lines:
    each = 1e6 / steps
    return [
        [_said(name), f"{own * each:.0f}", f"{whole * each:.0f}", f"{calls / steps:.1f}"]
        for name, (own, whole, calls) in best
    ]


def _said(function: Function) -> str:
    path, line, name = function
    if path == "~":
        return name
    parts = Path(path).parts
    roots = [parts.index(name) + 1 for name in ("site-packages", "src") if name in parts]
    start = roots[0] if roots else -2
    return f"{'/'.join(parts[start:])}:{line} {name}"
