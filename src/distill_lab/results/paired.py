"""Paired tests of student against baseline on the same rows, for the cells of one comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab import better
from distill_lab.errors import DataError
from distill_lab.results import inference
from distill_lab.results.cells import Cell
from distill_lab.results.metrics import NotThere, scored
from distill_lab.results.predictions import Predictions, read_predictions
from distill_lab.results.resampling import Floats, Resamples
from distill_lab.results.result import Result
from distill_lab.results.rowwise import Scored

TIMES = 1000  # samples: the standard error they give is within some 2 % of that of endless ones
_NEAR = 1e-4  # how near a metric from the file has to be to the one in the result
MCNEMAR, ROWS, BOTH = "McNemar, exact", "bootstrap over rows", "bootstrap over rows, and seeds"


@dataclass(frozen=True)
class Gain:
    """A gain, student over baseline of the same seeds, under one metric.

    Attributes:
        mean: Over the seeds; above 0 where the student is better, whichever way the metric runs.
        sd: Standard deviation over the seeds; None for one.
        seeds: How many there are.
        low, high: Ends of the 95 % interval; None if it is not tested.
        p: How often chance alone gives such a gain; None if it is not tested.
        adjusted: p after Holm's correction over the cells of the comparison.
        test: Name of the test that gave p; empty if there is none.
        why_not: Why it is not tested, in words; empty if it is.
    """

    mean: float
    sd: float | None
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    test: str = ""
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """What is to be believed: "better", "worse", "no evidence" or "not tested"."""
        if self.adjusted is None:
            return "not tested"
        return inference.verdict(self.mean, self.adjusted)


class Tester:
    """Tests the cells of one comparison; what several of them share is computed once.

    Args:
        metrics: Names as in the results.
        why_not: Why nothing is tested; empty to test.
    """

    def __init__(self, metrics: Sequence[str], why_not: str = "") -> None:
        self.metrics = list(metrics)
        self.why_not = why_not
        self._asked: npt.NDArray[Any] | None = None  # which rows the first run was asked
        self._resamples: dict[str, Resamples] = {}  # by evaluation set
        self._baselines: dict[tuple[str, str], tuple[Scored, Floats]] = {}

    def gains(self, cell: Cell) -> dict[str, Gain]:
        """Return the gain of a cell under each metric; none for one without a baseline."""
        runs = [result for result in cell.results if "baseline" in result.metrics]
        if not runs:
            return {}
        opened = self.why_not or self._open(runs)
        return {metric: self._gain(metric, runs, opened) for metric in self.metrics}

    def _open(self, runs: Sequence[Result]) -> list[Predictions] | str:
        """Return the predictions of runs, or why there are none for all of them."""
        found = []
        for run in runs:
            if run.folder is None:
                return "the results lie in no folder"
            try:
                predictions = read_predictions(run.folder)
                self._same_rows(predictions)
            except DataError as error:
                return _short(error, run.folder)
            found.append(predictions)
        return found

    def _same_rows(self, predictions: Predictions) -> None:
        """Hold a run's rows against those of the first run.

        Raises:
            DataError: If they are others.
        """
        columns = predictions.columns(["split", "id"])
        own = np.stack([columns["split"].astype(str), columns["id"].astype(str)])
        if self._asked is None:
            self._asked = own
        elif own.shape != self._asked.shape or not np.array_equal(own, self._asked):
            raise DataError(f"{predictions.file}: its rows are not those of the other runs")

    def _gain(
        self, metric: str, runs: Sequence[Result], opened: Sequence[Predictions] | str
    ) -> Gain:
        sign = better.sign(metric)
        each = [
            sign * (run.metrics["student"][metric] - run.metrics["baseline"][metric])
            for run in runs
        ]
        mean = sum(each) / len(each)
        gain = Gain(mean, float(np.std(each, ddof=1)) if len(each) > 1 else None, len(each))
        if isinstance(opened, str):
            return replace(gain, why_not=opened)
        try:
            return self._tested(metric, gain, each, list(zip(runs, opened, strict=True)))
        except (DataError, NotThere) as error:
            return replace(gain, why_not=_short(error, runs[0].folder))

    def _tested(
        self, metric: str, gain: Gain, each: Sequence[float],
        runs: Sequence[tuple[Result, Predictions]],
    ) -> Gain:  # fmt: skip
        samples: Floats = np.zeros(TIMES)
        differing: npt.NDArray[np.bool_] | None = None
        mcnemar = None
        for run, predictions in runs:
            student, baseline, base_samples, split = self._both(metric, run, predictions)
            own = student.over(self._samples(split, len(student.told())))
            samples += better.sign(metric) * (own - base_samples) / len(runs)
            differ = (student.told() != baseline.told()).any(axis=1)
            differing = differ if differing is None else differing | differ
            mcnemar = _mcnemar(metric, student, baseline)
        assert differing is not None
        found = inference.interval(each, samples, int(differing.sum()))
        exact = mcnemar if len(runs) == 1 else None
        return replace(
            gain, low=found.low, high=found.high, p=found.p if exact is None else exact,
            test=MCNEMAR if exact is not None else ROWS if len(runs) == 1 else BOTH,
        )  # fmt: skip

    def _both(
        self, metric: str, run: Result, predictions: Predictions
    ) -> tuple[Scored, Scored, Floats, str]:
        """Return student and baseline under a metric, and the baseline's value in each sample."""
        student, split = scored(metric, "student", predictions)
        self._check(metric, "student", student, run, predictions)
        key = run.fingerprints.get("baseline", str(run.folder)), metric
        if key not in self._baselines:
            baseline, _ = scored(metric, "baseline", predictions)
            self._check(metric, "baseline", baseline, run, predictions)
            samples = self._samples(split, len(baseline.told()))
            self._baselines[key] = baseline, baseline.over(samples)
        return student, *self._baselines[key], split

    def _check(
        self, metric: str, model: str, found: Scored, run: Result, predictions: Predictions
    ) -> None:
        told, value = run.metrics[model][metric], found.value()
        if abs(told - value) > _NEAR * max(1.0, abs(told)):
            raise DataError(
                f"{predictions.file}: by it {metric} of the {model} is {value:.4f}, by result.json"
                f" {told:.4f}"
            )

    def _samples(self, split: str, rows: int) -> Resamples:
        return self._resamples.setdefault(split, Resamples(rows, TIMES))


def corrected(gains: Sequence[Mapping[str, Gain]]) -> list[dict[str, Gain]]:
    """Return the gains of all cells with Holm's correction, each metric a family of its own.

    Args:
        gains: Of each cell, by metric.
    """
    found = [dict(each) for each in gains]
    for metric in {name for each in gains for name in each}:
        tested = [(each, each[metric]) for each in found if metric in each]
        known = [(each, gain, gain.p) for each, gain in tested if gain.p is not None]
        for (each, gain, _), adjusted in zip(
            known, inference.holm([p for _, _, p in known]), strict=True
        ):
            each[metric] = replace(gain, adjusted=adjusted)
    return found


def _mcnemar(metric: str, student: Scored, baseline: Scored) -> float | None:
    """Return McNemar's p where the metric is a share of rows that are right, else None."""
    if metric.partition("_")[0] not in ("accuracy", "exact"):
        return None
    ours, theirs = student.told(), baseline.told()
    if not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        return None
    won = int((ours[:, 0] > theirs[:, 0]).sum())
    return inference.mcnemar(won, int((ours[:, 0] < theirs[:, 0]).sum()))


def _short(error: Exception, folder: Path | None) -> str:
    """Return an error without the way to the run's folder, which the table does not tell."""
    return str(error).replace(f"{folder}{'/'}", "") if folder else str(error)
