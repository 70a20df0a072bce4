"""Learning curves: what `metrics.csv` of each run holds, thinned out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_lab.results.compare import Line
from distill_lab.results.report.figure import Figure, Grid, Spec, View, hover, layout, plain, titled
from distill_lab.results.report.palette import CURVES, colour
from distill_lab.results.report.study import metric_of, named
from distill_lab.results.result import Result

FILE = "metrics.csv"
_POINTS = 60  # of one run's curve
_SINGLES = 8  # runs of a cell that are drawn by themselves
Curve = tuple[list[int], list[float]]
"""Steps and values."""
_NAMES = {
    "train/loss": "training loss (weighted, so that settings differ in scale)",
    "train/agreement": "agreement with the teacher on training batches",
}


def curves_of(settings: Sequence[Line]) -> Figure:
    """Return the curves of all runs, the first settings of the selection split in colour.

    Args:
        settings: Of one comparison, best on the selection split first.
    """
    metric = metric_of(settings[0])
    found = {id(run): read(run) for setting in settings for run in setting.results}
    missing = sum(not curves for curves in found.values())
    names = _names(found.values(), metric)
    about = ["One faint line a run; the strong line is the mean over the seeds of a setting."]
    if len(settings) > len(CURVES):
        about.append(
            f"The first {len(CURVES)} of {len(settings)} settings in the order of the selection"
            " split have a colour; the others are grey."
        )
    if missing:
        about.append(f"{missing} of {len(found)} runs have no {FILE} that can be read.")
    if not names:
        return Figure("curves", "Learning curves", about=[f"No run has left a {FILE}."])
    views = [_view(name, title, settings, found) for name, title in names.items()]
    return Figure("curves", "Learning curves", views, about)


def read(run: Result) -> dict[str, Curve]:
    """Return the curves that a run has logged, by name, at most 60 points each.

    Args:
        run: With the folder that it lies in.
    """
    import pyarrow as pa
    from pyarrow import csv

    file = run.folder / FILE if run.folder else Path(FILE)
    try:
        table = csv.read_csv(file)
        steps = table.column("step").to_numpy()
    except (OSError, KeyError, pa.ArrowException):
        return {}
    found = {}
    for name in _shown(table.column_names):
        values = table.column(name).to_numpy()
        if values.dtype.kind in "fi":
            there = np.isfinite(values)
            if there.any():
                found[name] = thinned(steps[there], values[there].astype(np.float64))
    return found


def _shown(columns: Sequence[str]) -> list[str]:
    """Return the columns that are drawn: scores of the selection split, loss and its raw terms."""
    terms = {name.removesuffix("_weighted") for name in columns if name.endswith("_weighted")}
    return [n for n in columns if n.startswith("selection/") or n in _NAMES or n in terms]


def thinned(steps: Any, values: Any, points: int = _POINTS) -> Curve:
    """Return a curve of at most so many points: means of neighbours at the last of their steps."""
    starts = np.linspace(0, len(steps), min(points, len(steps)), endpoint=False).astype(int)
    sizes = np.diff([*starts, len(steps)])
    means = np.add.reduceat(values, starts) / sizes
    return steps[starts + sizes - 1].tolist(), [float(f"{mean:.5g}") for mean in means]


def _names(found: Iterable[Mapping[str, Curve]], metric: str) -> dict[str, str]:
    """Return the columns that are shown, in their order, with what they are called."""
    there = list(dict.fromkeys(name for curves in found for name in curves))
    main = f"selection/{metric}"
    told = {name: f"{name.removeprefix('selection/')} on the selection split" for name in there
            if name.startswith("selection/")}  # fmt: skip
    terms = [n for n in there if n not in told and n not in _NAMES]
    told |= {name: _NAMES[name] for name in _NAMES if name in there}
    told |= {term: f"{term.removeprefix('train/')} loss, without λ and T²" for term in terms}
    order = [main] if main in told else []
    return {name: told[name] for name in dict.fromkeys([*order, *told])}


def _view(
    name: str, title: str, settings: Sequence[Line], found: Mapping[int, Mapping[str, Curve]]
) -> View:
    data: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    rest: list[Curve] = []
    for place, setting in enumerate(settings):
        of_runs = [found[id(run)].get(name) for run in setting.results]
        curves = [curve for curve in of_runs if curve]
        if not curves:
            continue
        middle = averaged(curves)
        ends = [f"{middle[1][0]:.4g}", f"{middle[1][-1]:.4g}", str(middle[0][-1])]
        rows.append([named(setting), str(len(curves)), *ends])
        if place < len(CURVES):
            data += _traces(setting, curves, middle, place)
        else:
            rest.append(middle)
    if rest:
        others = _one(rest, "faint", 0.5, f"{len(rest)} other settings")
        data.insert(0, {**others, "legendrank": 2000})
    spec: Spec = {
        "data": data,
        "layout": layout({**titled("training step")}, titled(title.split(" (")[0])),
    }
    best = f"; {rows[0][0]} ends at {rows[0][3]}" if rows else ""
    count = "1 setting" if len(rows) == 1 else f"{len(rows)} settings"
    sentence = f"{title} over training steps for {count}{best}."
    headings = ["setting", "runs", "first", "last", "last step"]
    return View(title, spec, sentence, Grid(title, headings, rows))


def averaged(curves: Sequence[Curve]) -> Curve:
    """Return the mean of curves at the steps that all of them have; else the longest."""
    shared = sorted(set.intersection(*(set(steps) for steps, _ in curves)))
    if not shared:
        return max(curves, key=lambda curve: len(curve[0]))
    tables = [dict(zip(*curve, strict=True)) for curve in curves]
    return shared, [float(f"{np.mean([t[step] for t in tables]):.5g}") for step in shared]


def _traces(
    setting: Line, curves: Sequence[Curve], middle: Curve, place: int
) -> list[dict[str, Any]]:
    name = CURVES[place]
    strong = {
        "type": "scatter", "mode": "lines" if len(middle[0]) > 1 else "markers",
        "x": middle[0], "y": middle[1], "name": plain(named(setting)), "hoverinfo": "text",
        "hovertext": [
            hover([named(setting), f"step {step}", f"{value:.4g}"])
            for step, value in zip(*middle, strict=True)
        ],
        "line": {"color": colour(name), "width": 3 if place == 0 else 2},
        "marker": {"color": colour(name), "size": 8}, "legendgroup": str(place),
    }  # fmt: skip
    if len(curves) == 1:
        return [strong]
    singles = _one(list(curves)[:_SINGLES], name, 0.3, named(setting))
    return [{**singles, "legendgroup": str(place), "showlegend": False}, strong]


def _one(curves: Sequence[Curve], name: str, opacity: float, title: str) -> dict[str, Any]:
    """Return several curves as one trace, with a gap between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    for steps, values in curves:
        x += [*steps, None]
        y += [*values, None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": plain(title),
        "hoverinfo": "skip", "opacity": opacity, "line": {"color": colour(name), "width": 1},
    }  # fmt: skip
