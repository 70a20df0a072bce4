"""Where student and teacher differ: by class, and by length of the row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, stdev
from typing import Any

import numpy as np

from distill_lab.results.report.answers import Answers, Floats, OfRun, models_of
from distill_lab.results.report.figure import (
    Figure,
    Grid,
    View,
    hover,
    layout,
    plain,
    share_range,
    titled,
)
from distill_lab.results.report.palette import SYMBOLS, colour
from distill_lab.results.report.study import named
from distill_lab.results.tables import spread

_CLASSES = 25  # that have names in a picture; of more, those with most rows
_BINS = 5


def by_class(answers: Answers) -> Figure:
    """Return how teacher, student and baseline do on the rows of each class."""
    title, runs = "By class", answers.runs
    if not runs:
        return Figure("classes", title, about=_unread(answers))
    first = runs[0]
    if first.kind != "classification" or first.label is None:
        return Figure("classes", title, about=["The rows of this task have no classes."])
    counts = np.bincount(first.label.astype(int))
    order = np.argsort(-counts, kind="stable")[:_CLASSES]
    classes = sorted(int(c) for c in order if counts[c])
    masks = [(_named(first, c), first.label == c) for c in classes]
    about = [
        f"Share of each class's rows that is answered right (recall), for {named(answers.setting)},"
        " which the selection split puts first; mean over seeds, bars ± one standard deviation."
    ]
    if len(classes) < (counts > 0).sum():
        about.append(f"The {_CLASSES} classes with most rows of {(counts > 0).sum()} are shown.")
    view = _view("recall by class", masks, runs, "class", "recall")
    return Figure("classes", title, [view], about)


def by_length(answers: Answers, lengths: Floats | None = None, unit: str = "tokens") -> Figure:
    """Return how teacher, student and baseline do on short and long rows.

    Args:
        answers: Of one setting.
        lengths: Of the rows where the predictions do not tell them, in their order.
        unit: What they count.
    """
    title, runs = "By length", answers.runs
    if not runs:
        return Figure("lengths", title, about=_unread(answers))
    if runs[0].lengths is not None:
        lengths, unit = runs[0].lengths, "tokens"
    if lengths is None:
        told = (
            "The predictions do not hold the rows' lengths; with --texts the rows are read again"
            " and their characters counted."
        )
        return Figure("lengths", title, about=[told])
    if not models_of(runs):
        return Figure("lengths", title, about=["The rows of this task have no score each."])
    masks = _bins(lengths)
    if len(masks) < 2:
        return Figure("lengths", title, about=["All rows have about the same length."])
    over = f"length in {unit}"
    view = _view(f"{runs[0].told} by length", masks, runs, over, runs[0].told)
    about = [
        f"{runs[0].told.capitalize()} on rows of each length, for {named(answers.setting)}; as many"
        " rows in each group as their lengths allow."
    ]
    return Figure("lengths", title, [view], about)


def _named(run: OfRun, number: int) -> str:
    return run.labels[number] if number < len(run.labels) else str(number)


def _unread(answers: Answers) -> list[str]:
    return ["Not shown, for no predictions could be read:", *answers.faults]


def _bins(lengths: Floats) -> list[tuple[str, Any]]:
    """Return groups of rows of about equal number, by length, with their names."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _BINS + 1)).astype(int))
    found = []
    for low, high in pairwise(edges):
        last = high == edges[-1]
        mask = (lengths >= low) & ((lengths <= high) if last else (lengths < high))
        top = high if last else high - 1
        if mask.any():
            found.append((f"{low}-{top}" if top > low else f"{low}", mask))
    return found


def _view(
    name: str, masks: Sequence[tuple[str, Any]], runs: Sequence[OfRun], over: str, told: str
) -> View:
    models = models_of(runs)
    names = [part for part, _ in masks]
    scores = {
        model: [[float(run.scores[model][mask].mean()) for run in runs] for _, mask in masks]
        for model in models
    }
    rows = []
    for place, (part, mask) in enumerate(masks):
        of_models = [scores[m][place] for m in models]
        cells = [spread(mean(v), stdev(v) if len(v) > 1 else None) for v in of_models]
        rows.append([part, f"{int(mask.sum()):,}", *cells, *_differences(scores, place)])
    against = [f"student - {m}" for m in ("teacher", "baseline") if m in models]
    headings = [over, "rows", *models, *(against if "student" in models else [])]
    mode = "markers" if over == "class" else "lines+markers"  # classes have no order
    data = [{**_trace(model, names, scores[model], told), "mode": mode} for model in models]
    x = {**titled(over), "type": "category"}
    values = [value for of_part in scores.values() for each in of_part for value in each]
    y = {**titled(told), **share_range(values)}
    return View(
        name, {"data": data, "layout": layout(x, y)}, _said(name, masks, scores),
        Grid(name, headings, rows),
    )  # fmt: skip


def _differences(scores: dict[str, list[list[float]]], place: int) -> list[str]:
    if "student" not in scores:
        return []
    student = mean(scores["student"][place])
    others = [m for m in ("teacher", "baseline") if m in scores]
    return [f"{student - mean(scores[m][place]):+.4f}" for m in others]


def _said(name: str, masks: Sequence[tuple[str, Any]], scores: dict[str, list[list[float]]]) -> str:
    if not {"teacher", "student"} <= scores.keys():
        return f"{name}."
    gaps = [mean(s) - mean(t) for s, t in zip(scores["student"], scores["teacher"], strict=True)]
    at = int(np.argmax(np.abs(gaps)))
    return (
        f"{name}: student and teacher differ most on {masks[at][0]}"
        f" ({gaps[at]:+.4f}, {int(masks[at][1].sum()):,} rows)."
    )


def _trace(model: str, names: Sequence[str], scores: list[list[float]], told: str) -> Any:
    means = [mean(values) for values in scores]
    return {
        "type": "scatter", "name": model,
        "x": [plain(name) for name in names], "y": means, "hoverinfo": "text",
        "hovertext": [
            hover([name, f"{model}, {told}: {value:.4f}"])
            for name, value in zip(names, means, strict=True)
        ],
        "line": {"color": colour(model), "width": 1, "dash": "dot"},
        "marker": {"color": colour(model), "size": 10, "symbol": SYMBOLS[model]},
        "error_y": {
            "type": "data", "color": colour(model), "thickness": 1.2, "width": 4,
            "array": [stdev(values) if len(values) > 1 else 0.0 for values in scores],
        },
    }  # fmt: skip
