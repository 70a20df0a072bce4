"""Answers row by row of the runs that a section looks at: the setting that selection puts first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError
from distill_lab.results.compare import Line
from distill_lab.results.predictions import Predictions, read_predictions
from distill_lab.results.report.palette import MODELS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MOST_ROWS = 200_000  # of one run; more are not read into one page
# What each row's score is made of where it has no class: suffix of the column, name, less is better
_SCORES = (("_f1", "F1", 1), ("_exact", "share right", 1), ("_loss", "cross-entropy", -1),
           ("_accuracy", "accuracy", 1))  # fmt: skip


@dataclass(frozen=True)
class OfRun:
    """One run's answers.

    Attributes:
        kind: "classification", "regression", or another kind of problem.
        labels: Names of the classes.
        ids: Stable ids of the rows.
        split: Name of the evaluation set of each row.
        label: Class or value of each row; None where rows have none.
        scores: By model, what each row scores: 1 or 0 for a class, the distance for a number.
        told: What the scores are.
        way: 1 where more of them is better, -1 where less is.
        logits: By model, `[rows, labels]`; none where the task keeps none.
        lengths: Of the rows in tokens; None where they are not known.
    """

    kind: str
    labels: tuple[str, ...]
    ids: Ints
    split: npt.NDArray[np.str_]
    label: Floats | None
    scores: Mapping[str, Floats]
    told: str
    way: int
    logits: Mapping[str, npt.NDArray[np.float32]]
    lengths: Floats | None = None


@dataclass(frozen=True)
class Answers:
    """The answers of a setting's runs.

    Attributes:
        setting: Whose.
        runs: One for each seed whose predictions could be read.
        faults: Why others could not.
    """

    setting: Line
    runs: Sequence[OfRun]
    faults: Sequence[str]


def answers_of(setting: Line) -> Answers:
    """Read the answers of a setting's runs."""
    runs, faults = [], []
    for result in setting.results:
        try:
            assert result.folder is not None
            opened = read_predictions(result.folder)
            if opened.rows > _MOST_ROWS:
                raise DataError(f"{opened.file}: {opened.rows:,} rows are too many for a page")
            runs.append(_of_run(opened, result.problem))
        except DataError as error:
            faults.append(str(error))
    return Answers(setting, runs, faults)


def _of_run(opened: Predictions, problem: Mapping[str, object]) -> OfRun:
    wanted = ["split", "id", *(n for n in ("label", "length") if n in opened.names)]
    read = opened.columns(wanted)
    labels = problem.get("labels") or ()
    names = tuple(map(str, labels)) if isinstance(labels, (list, tuple)) else ()
    kind = str(problem.get("kind", "")) or _kind(opened)
    label = read.get("label")
    if label is not None and label.dtype == object:
        label = None  # accepted answers of a question
    scores, told, way = _scores(opened, kind, label)
    logits = {
        model: found for model in opened.models if (found := opened.logits(model)) is not None
    }
    lengths = read.get("length")
    return OfRun(
        kind, names, read["id"], read["split"].astype(str),
        None if label is None else label.astype(np.float64), scores, told, way, logits,
        None if lengths is None else lengths.astype(np.float64),
    )  # fmt: skip


def _kind(opened: Predictions) -> str:
    """Return the kind of problem of a run whose result does not tell it."""
    logits = opened.logits("teacher") if "teacher_logits" in opened.names else None
    if logits is None:
        return ""
    return "regression" if logits.shape[1] == 1 else "classification"


def _scores(
    opened: Predictions, kind: str, label: npt.NDArray[np.generic] | None
) -> tuple[dict[str, Floats], str, int]:
    """Return what each row scores, by model, what that is, and which way is better."""
    models = [model for model in opened.models if model in opened.names]
    if kind in ("classification", "regression") and label is not None and models:
        given = opened.columns(models)
        if kind == "classification":
            return {m: (given[m] == label).astype(np.float64) for m in models}, "accuracy", 1
        distances = {
            m: np.abs(given[m].astype(np.float64) - label.astype(np.float64)) for m in models
        }
        return distances, "mean absolute error", -1
    for suffix, told, way in _SCORES:
        there = [m for m in MODELS if f"{m}{suffix}" in opened.names]
        if there:
            read = opened.columns([f"{m}{suffix}" for m in there])
            return {m: read[f"{m}{suffix}"].astype(np.float64) for m in there}, told, way
    return {}, "", 1


def models_of(runs: Sequence[OfRun]) -> list[str]:
    """Return the models that all runs have scores of."""
    return [m for m in MODELS if runs and all(m in run.scores for run in runs)]
