"""Reliability diagram: is a model that is 90 % sure right 9 times in 10?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.better import CALIBRATION_BINS
from distill_lab.results.report.answers import Answers, Floats
from distill_lab.results.report.figure import Figure, Grid, View, hover, layout, titled
from distill_lab.results.report.palette import DASHES, MODELS, SYMBOLS, colour
from distill_lab.results.report.study import named


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of confidence.

    Attributes:
        confidence: Mean of each bin that has rows.
        accuracy: Share of its rows that is right.
        rows: How many it has.
    """

    confidence: Floats
    accuracy: Floats
    rows: npt.NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error over these bins.

        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
        """
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.rows * gaps).sum() / self.rows.sum())


def reliability(
    logits: npt.NDArray[Any], label: Floats, bins: int = CALIBRATION_BINS
) -> Reliability:
    """Return how sure a model is and how often it is right.

    Args:
        logits: `[rows, labels]`.
        label: Class of each row.
        bins: Of equal width between 0 and 1.
    """
    shares = softmax(logits)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == label
    place = np.minimum((sure * bins).astype(int), bins - 1)
    rows = np.bincount(place, minlength=bins)
    there = rows > 0
    confidence = np.bincount(place, weights=sure, minlength=bins)[there] / rows[there]
    accuracy = np.bincount(place, weights=right, minlength=bins)[there] / rows[there]
    return Reliability(confidence, accuracy, rows[there])


def softmax(logits: npt.NDArray[Any], temperature: float = 1.0) -> Floats:
    """Return the shares of each row, softmax of z / T."""
    scaled = logits.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def reliability_of(answers: Answers) -> Figure:
    """Return the diagram of teacher, student and baseline."""
    title = "Calibration"
    runs = [run for run in answers.runs if run.logits and run.label is not None]
    if not answers.runs:
        told = ["Not shown, for no predictions could be read:", *answers.faults]
        return Figure("calibration", title, about=told)
    if answers.runs[0].kind != "classification" or not runs:
        return Figure("calibration", title, about=["Only classes with logits have a confidence."])
    found: dict[str, Reliability] = {}
    errors: dict[str, float] = {}
    for model in MODELS:
        having = [run for run in runs if model in run.logits]
        if having:
            logits = np.concatenate([run.logits[model] for run in having])
            labels = np.concatenate([run.label for run in having if run.label is not None])
            found[model] = reliability(logits, labels)
            errors[model] = mean(_error(run.logits[model], run.label) for run in having)
    about = [
        f"How often a model is right when it is so sure, rows of all seeds of"
        f" {named(answers.setting)} together. On the diagonal it is as sure as it should be,"
        f" below it surer. ECE is the expected calibration error over {CALIBRATION_BINS} bins of"
        " equal width, mean over the seeds."
    ]
    return Figure("calibration", title, [_view(found, errors)], about)


def _error(logits: npt.NDArray[Any], label: Floats | None) -> float:
    assert label is not None
    return reliability(logits, label).error


def _view(found: dict[str, Reliability], error: dict[str, float]) -> View:
    data: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
        "showlegend": False, "line": {"color": colour("faint"), "width": 1},
    }]  # fmt: skip
    rows: list[list[str]] = []
    for model, each in found.items():
        triples = list(zip(each.confidence, each.accuracy, each.rows, strict=True))
        rows += [[model, f"{c:.3f}", f"{a:.3f}", f"{n:,}"] for c, a, n in triples]
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": f"{model}, ECE {error[model]:.4f}",
            "x": [round(c, 4) for c, _, _ in triples], "y": [round(a, 4) for _, a, _ in triples],
            "hoverinfo": "text",
            "hovertext": [
                hover([model, f"confidence {c:.3f}", f"right {a:.3f}", f"{n:,} rows"])
                for c, a, n in triples
            ],
            "line": {"color": colour(model), "width": 2, "dash": DASHES[model]},
            "marker": {
                "color": colour(model), "symbol": SYMBOLS[model], "size": _sizes(each.rows),
            },
        })  # fmt: skip
    low = min(float(each.confidence.min()) for each in found.values())
    x = {**titled("confidence"), "range": [max(0.0, low - 0.05), 1.02]}
    y = {**titled("share right"), "range": [0, 1.04]}
    errors = ", ".join(f"{model} {value:.4f}" for model, value in error.items())
    headings = ["model", "confidence", "share right", "rows"]
    return View(
        "reliability", {"data": data, "layout": layout(x, y)},
        f"Expected calibration error: {errors}.", Grid("Reliability by bin", headings, rows),
    )  # fmt: skip


def _sizes(rows: Sequence[int] | npt.NDArray[np.int64]) -> list[float]:
    """Return marks whose area tells how many rows they stand for, in pixels."""
    share = np.asarray(rows) / np.sum(rows)
    return [round(float(6 + 12 * np.sqrt(each)), 1) for each in share]
