"""Score against what serving costs; what another is no worse and cheaper than is grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill_lab.better import sign
from distill_lab.results.compare import Line
from distill_lab.results.figures import number_of
from distill_lab.results.report.costs import COSTS, Point, by_place, counted
from distill_lab.results.report.figure import Figure, Grid, Spec, View, hover, layout, plain, titled
from distill_lab.results.report.palette import MODELS, SYMBOLS, colour
from distill_lab.results.report.study import metric_of

_EXACT = ("eager", "compiled", "onnx")  # forms that give the student's own answers
_NAMED = 12  # points whose names are written beside them


def front_of(settings: Sequence[Line], key: str = "pareto") -> Figure:
    """Return the Pareto front of students, their baselines and teachers.

    Args:
        settings: All that were scored on the same rows, of students of any architecture.
        key: Of the figure.
    """
    metric = metric_of(settings[0])
    title = f"What {metric} costs"
    measured = by_place(settings)
    if not measured:
        points = counted(settings)
        about = [
            "Nothing has been measured yet: distill-lab bench with the folders of runs adds"
            " latency, throughput, size, memory and energy. Until then, parameters stand for cost."
        ]
        return Figure(key, title, [_view("parameters", "", points, metric)], about)
    views = [
        _view(cost, place if len(measured) > 1 else "", points, metric)
        for place, points in measured.items()
        for cost in COSTS
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
    noisy = [point.name for points in measured.values() for point in points if point.disturbed]
    if noisy:
        about.append(
            f"Disturbed while it was measured, so that its milliseconds hold less than its ratios:"
            f" {', '.join(noisy)}."
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


def _view(cost: str, place: str, points: Sequence[Point], metric: str) -> View:
    having = [point for point in points if cost in point.costs]
    flags = on_front([(p.costs[cost], p.score) for p in having], sign(metric))
    title = COSTS[cost]
    name = f"{title}; {place}" if place else title
    front = [p for p, flag in zip(having, flags, strict=True) if flag]
    front.sort(key=lambda point: point.costs[cost])
    sentence = (
        f"{metric} against {title} for {number_of(len(having), 'model')}. On the Pareto front,"
        " cheapest first:"
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
    most = max(point.costs[cost] for point in points) or 1.0
    pairs = list(zip(points, flags, strict=True))
    grey = _trace("", [p for p, flag in pairs if not flag], cost, metric, most)
    data: list[dict[str, Any]] = [line, {**grey, "legendrank": 2000}]
    for model in MODELS:
        own = [p for p, flag in pairs if p.model == model and flag]
        data.append(_trace(model, own, cost, metric, most))
    x = {**titled(COSTS[cost]), "range": [0, 1.06 * most]}
    return {"data": [trace for trace in data if trace["x"]], "layout": layout(x, titled(metric))}


def _side(share: float, model: str) -> str:
    """Return where a name stands: not cut at the edge, and not over that of a student as good."""
    height = "bottom" if model == "baseline" else "top"
    return f"{height} {'right' if share < 0.2 else 'left' if share > 0.8 else 'center'}"


def _trace(
    model: str, points: Sequence[Point], cost: str, metric: str, most: float
) -> dict[str, Any]:
    """Return marks of a model's points; without a model, those of all that are dominated."""
    notes = [] if model else ["dominated"]
    written = bool(model) and len(points) <= _NAMED
    return {
        "type": "scatter", "mode": "markers+text" if written else "markers",
        "name": model or "dominated",
        "x": [p.costs[cost] for p in points], "y": [p.score for p in points],
        "text": [plain(p.name) for p in points] if written else [],
        "textposition": [_side(p.costs[cost] / most, p.model) for p in points],
        "hovertext": [
            hover([p.name, f"{metric}: {p.score:.4f}", f"{COSTS[cost]}: {p.costs[cost]:,.4g}",
                   *notes])
            for p in points
        ],
        "hoverinfo": "text", "cliponaxis": False, "textfont": {"size": 11},
        "marker": {
            "color": colour(model or "faint"), "size": 11 if model else 9,
            "symbol": [SYMBOLS[p.model] for p in points],
        },
    }  # fmt: skip
