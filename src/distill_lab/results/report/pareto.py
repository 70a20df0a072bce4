"""Score against what serving costs; what another is no worse and cheaper than is grey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from distill_lab.better import sign
from distill_lab.results.compare import Line
from distill_lab.results.report.figure import Figure, Grid, Spec, View, hover, layout, plain, titled
from distill_lab.results.report.palette import MODELS, SYMBOLS, colour
from distill_lab.results.report.study import metric_of, named, score
from distill_lab.results.result import Result

_COSTS = {
    "latency_p50_ms": "latency at batch 1, median, ms",
    "latency_p95_ms": "latency at batch 1, 95th percentile, ms",
    "ms_per_example": "time per row in batches, ms",
    "size_mb": "size on disk, MB",
    "parameters": "parameters",
    "flops": "FLOPs per row",
    "peak_memory_mb": "peak memory, MB",
    "energy_j": "energy for 1,000 rows, J",
}
_EXACT = ("eager", "compiled", "onnx")  # forms that give the student's own answers
_NAMED = 12  # points whose names are written beside them


@dataclass(frozen=True)
class Point:
    """A model in one form.

    Attributes:
        model: "teacher", "student" or "baseline".
        name: With settings and form.
        score: Main metric on the evaluation split, mean over seeds.
        costs: By the keys of `distill-lab bench`; what was not measured is not there.
        form: How it was served.
    """

    model: str
    name: str
    score: float
    costs: Mapping[str, float]
    form: str = ""


def front_of(settings: Sequence[Line], key: str = "pareto") -> Figure:
    """Return the Pareto front of students, their baselines and teachers.

    Args:
        settings: All that were scored on the same rows, of students of any architecture.
        key: Of the figure.
    """
    metric = metric_of(settings[0])
    title = f"What {metric} costs"
    measured = _measured(settings)
    if not measured:
        points = _counted(settings)
        about = [
            "Nothing has been measured yet: distill-lab bench with the folders of runs adds"
            " latency, throughput, size, memory and energy. Until then, parameters stand for cost."
        ]
        return Figure(key, title, [_view("parameters", "", points, metric)], about)
    views = [
        _view(cost, place if len(measured) > 1 else "", points, metric)
        for place, points in measured.items()
        for cost in _COSTS
        if any(cost in point.costs for point in points)
    ]
    forms = {point.form for points in measured.values() for point in points}
    about = [f"Measured by distill-lab bench on {'; '.join(measured)}."]
    if len(measured) > 1:
        about.append("What was measured on other machines or other rows is never in one picture.")
    if forms - set(_EXACT):
        about.append(
            "The score of a form with int8 is that of the float32 model; the README of the"
            " exported folder tells how far it lies off."
        )
    if not any("energy_j" in point.costs for points in measured.values() for point in points):
        about.append("Energy: not measured.")
    return Figure(key, title, views, about)


def on_front(points: Sequence[tuple[float, float]], way: int = 1) -> list[bool]:
    """Tell for each point whether no other one is at least as good in both and better in one.

    Args:
        points: Cost, of which less is better, and score.
        way: 1 where more of the score is better, -1 where less is.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -way * points[at][1]))
    found = [False] * len(points)
    best = float("-inf")
    last: tuple[float, float] | None = None
    for at in order:
        value = way * points[at][1]
        found[at] = value > best or points[at] == last
        if value > best:
            best, last = value, points[at]
    return found


def _counted(settings: Sequence[Line]) -> list[Point]:
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


def _measured(settings: Sequence[Line]) -> dict[str, list[Point]]:
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
            point = Point(model, full, worth, _costs(entries), form)
            found[place, rows].append(point)
    places = [place for place, _ in found]
    return {
        place if places.count(place) == 1 else f"{place} ({rows[:8]})": points
        for (place, rows), points in found.items()
    }


def _place(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return machine and rows of a measurement in words, and the fingerprint of the rows."""
    machine, rows = (entry.get(name) or {} for name in ("machine", "rows"))
    threads = f", {machine['threads']} threads" if machine.get("threads") else ""
    where = f"{machine.get('name', entry.get('device', 'an unnamed machine'))}{threads}"
    length = rows.get("median_length")
    read = f"{rows.get('name', 'unnamed')} rows" + (f" of {length:g} tokens" if length else "")
    return f"{entry.get('device', '')}: {where}, {read}", str(rows.get("fingerprint", ""))


def _costs(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        speed = entry.get("examples_per_second")
        known = {**entry, "ms_per_example": 1000 / speed if speed else None}
        for cost in _COSTS:
            if known.get(cost) is not None:
                values[cost].append(float(known[cost]))
    return {cost: median(found) for cost, found in values.items()}


def _view(cost: str, place: str, points: Sequence[Point], metric: str) -> View:
    having = [point for point in points if cost in point.costs]
    flags = on_front([(p.costs[cost], p.score) for p in having], sign(metric))
    title = _COSTS[cost]
    name = f"{title}; {place}" if place else title
    front = [p for p, flag in zip(having, flags, strict=True) if flag]
    front.sort(key=lambda point: point.costs[cost])
    sentence = (
        f"{metric} against {title} for {len(having)} models. On the Pareto front, cheapest first:"
        f" {', '.join(p.name for p in front)}."
    )
    rows = [
        [p.name, f"{p.score:.4f}", (f"{p.costs[cost]:,.4g}", p.costs[cost]), "yes" if f else "no"]
        for p, f in sorted(zip(having, flags, strict=True), key=lambda pair: pair[0].costs[cost])
    ]
    grid = Grid(name, ["model", metric, title, "on the front"], rows, frozenset({0, 3}))
    return View(name, _spec(cost, having, flags, front, metric), sentence, grid)


def _spec(
    cost: str, points: Sequence[Point], flags: Sequence[bool], front: Sequence[Point], metric: str
) -> Spec:
    line = {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False,
        "x": [p.costs[cost] for p in front], "y": [p.score for p in front],
        "line": {"color": colour("muted"), "width": 1.5, "dash": "dot", "shape": "hv"},
    }  # fmt: skip
    data: list[dict[str, Any]] = [line]
    pairs = list(zip(points, flags, strict=True))
    grey = [p for p, flag in pairs if not flag]
    data.append(_trace("", grey, cost, metric, colour("faint"), "dominated"))
    for model in MODELS:
        own = [p for p, flag in pairs if p.model == model and flag]
        data.append(_trace(model, own, cost, metric, colour(model), model))
    x = {**titled(_COSTS[cost]), "rangemode": "tozero"}
    return {
        "data": [trace for trace in data if trace["x"]],
        "layout": layout(x, titled(metric)),
    }


def _trace(
    model: str, points: Sequence[Point], cost: str, metric: str, colour_: str, name: str
) -> dict[str, Any]:
    told = [
        hover([p.name, f"{metric}: {p.score:.4f}", f"{_COSTS[cost]}: {p.costs[cost]:,.4g}",
               *([] if model else ["dominated"])])
        for p in points
    ]  # fmt: skip
    written = bool(model) and len(points) <= _NAMED
    return {
        "type": "scatter", "mode": "markers+text" if written else "markers", "name": name,
        "x": [p.costs[cost] for p in points], "y": [p.score for p in points],
        "text": [plain(p.name) for p in points] if written else [], "hovertext": told,
        "hoverinfo": "text", "textposition": "top center", "cliponaxis": False,
        "textfont": {"size": 11},
        "marker": {"color": colour_, "size": 11 if model else 9,
                   "symbol": [SYMBOLS[p.model] for p in points]},
    }  # fmt: skip
