"""What models cost: as `distill-lab bench` has measured it, by machine and rows, or parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from distill_lab.bench.entry import DISTURBED
from distill_lab.results.compare import Line
from distill_lab.results.report.study import named, score
from distill_lab.results.result import Result

COSTS = {
    "latency_p50_ms": "latency at batch 1, median, ms",
    "latency_p95_ms": "latency at batch 1, 95th percentile, ms",
    "ms_per_example": "time per row in batches, ms",
    "size_mb": "size on disk, MB",
    "parameters": "parameters",
    "flops": "FLOPs per row",
    "peak_memory_mb": "peak memory, MB",
    "energy_j": "energy for 1,000 rows, J",
}


@dataclass(frozen=True)
class Point:
    """A model in one form.

    Attributes:
        model: "teacher", "student" or "baseline".
        name: With settings and form.
        score: Main metric on the evaluation split, mean over seeds.
        costs: By the keys of `distill-lab bench`; what was not measured is not there.
        form: How it was served.
        disturbed: Whether the machine did other things while it was measured.
    """

    model: str
    name: str
    score: float
    costs: Mapping[str, float]
    form: str = ""
    disturbed: bool = False


def counted(settings: Sequence[Line]) -> list[Point]:
    """Return a point for each setting, baseline and teacher, with parameters alone."""
    points = [
        Point(model, name, worth, {"parameters": float(runs[0].parameters(model))})
        for model, name, worth, runs in _models(settings)
    ]
    return [point for point in points if point.costs["parameters"]]


def _models(settings: Sequence[Line]) -> list[tuple[str, str, float, list[Result]]]:
    """Return model, name, score and runs of all that has a score."""
    found = [("student", _title(s, settings), score(s).mean, list(s.results)) for s in settings]
    runs = [run for setting in settings for run in setting.results]
    teachers: dict[str, list[Result]] = defaultdict(list)
    plain_students: dict[str, dict[str, Result]] = defaultdict(dict)
    for run in runs:
        teachers[run.fingerprints.get("teacher", "")].append(run)
        if "baseline" in run.metrics:
            kind = run.choices.get("student", "")
            plain_students[kind][run.fingerprints.get("baseline", str(run.seed))] = run
    for same in teachers.values():
        worth = same[0].main("teacher")
        if worth is not None:
            name = f"teacher {same[0].choices.get('teacher_name', '')}".strip()
            found.append(("teacher", name, worth, same))
    for kind, each in plain_students.items():
        distinct = list(each.values())
        worth = mean(run.metrics["baseline"][run.metric] for run in distinct)
        everyone = [r for r in runs if r.choices.get("student", "") == kind]
        found.append(("baseline", f"baseline {kind}".strip(), worth, everyone))
    return found


def _title(setting: Line, settings: Sequence[Line]) -> str:
    kinds = {s.results[0].choices.get("student", "") for s in settings}
    kind = setting.results[0].choices.get("student", "")
    told = len(kinds) > 1 and "student" not in setting.label
    return f"{kind}, {named(setting)}" if told else named(setting)


def by_place(settings: Sequence[Line]) -> dict[str, list[Point]]:
    """Return the points by machine and rows; costs are medians over the runs that were measured."""
    found: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for model, name, worth, runs in _models(settings):
        of_form: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for entry in (entry for run in runs for entry in run.bench):
            if entry.get("model") == model:
                place, rows = _place(entry)
                of_form[place, rows, str(entry.get("form", ""))].append(entry)
        for (place, rows, form), entries in of_form.items():
            full = f"{name}, {form}" if form else name
            noisy = any(entry.get("latency_spread", 1.0) > DISTURBED for entry in entries)
            point = Point(model, full, worth, _costs(entries), form, noisy)
            found[place, rows].append(point)
    places = [place for place, _ in found]
    return {
        place if places.count(place) == 1 else f"{place} ({rows[:8]})": points
        for (place, rows), points in found.items()
    }


def _place(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return machine and rows of a measurement in words, and the fingerprint of the rows."""
    machine, rows = (entry.get(name) or {} for name in ("machine", "rows"))
    count = machine.get("threads")
    threads = f", {count} thread{'s' if count != 1 else ''}" if count else ""
    where = f"{machine.get('name', entry.get('device', 'an unnamed machine'))}{threads}"
    length = rows.get("median_length")
    read = f"{rows.get('name', 'unnamed')} rows" + (f" of {length:g} tokens" if length else "")
    return f"{entry.get('device', '')}: {where}, {read}", str(rows.get("fingerprint", ""))


def _costs(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        speed = entry.get("examples_per_second")
        known = {**entry, "ms_per_example": 1000 / speed if speed else None}
        for cost in COSTS:
            if known.get(cost) is not None:
                values[cost].append(float(known[cost]))
    return {cost: median(found) for cost, found in values.items()}
