"""Paired tests of student against baseline on the same rows, for the cells of one comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill_lab import better
from distill_lab.errors import DataError
from distill_lab.results import inference
from distill_lab.results.asked import Answers, Asked
from distill_lab.results.cells import Cell
from distill_lab.results.metrics import NotThere
from distill_lab.results.resampling import Floats, Resamples
from distill_lab.results.result import Result
from distill_lab.results.rowwise import Scored, over

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
        self._asked = Asked()
        self._resamples: dict[str, Resamples] = {}  # by evaluation set
        self._baselines: dict[tuple[str, str], tuple[Scored, Floats]] = {}

    def gains(self, cell: Cell) -> dict[str, Gain]:
        """Return the gain of a cell under each metric; none for one without a baseline."""
        runs = [result for result in cell.results if "baseline" in result.metrics]
        if not runs:
            return {}
        opened = self.why_not or self._open(runs)
        return {metric: self._gain(metric, runs, opened) for metric in self.metrics}

    def _open(self, runs: Sequence[Result]) -> list[Answers] | str:
        """Return the answers of runs, or why there are none for all of them."""
        found = []
        for run in runs:
            if run.folder is None:
                return "the results lie in no folder"
            known = all((_baseline(run), metric) in self._baselines for metric in self.metrics)
            models = ["student"] if known else ["student", "baseline"]
            try:
                found.append(self._asked.answers(run.folder, models))
            except DataError as error:
                return _short(error, run.folder)
        return found

    def _gain(self, metric: str, runs: Sequence[Result], opened: Sequence[Answers] | str) -> Gain:
        sign = better.sign(metric)
        each = [
            sign * (run.metrics["student"][metric] - run.metrics["baseline"][metric])
            for run in runs
        ]
        sd = float(np.std(each, ddof=1)) if len(each) > 1 else None
        gain = Gain(sum(each) / len(each), sd, len(each))
        if isinstance(opened, str):
            return replace(gain, why_not=opened)
        try:
            return self._tested(metric, gain, each, runs, opened)
        except (DataError, NotThere) as error:
            return replace(gain, why_not=_short(error, runs[0].folder))

    def _tested(
        self, metric: str, gain: Gain, each: Sequence[float], runs: Sequence[Result],
        opened: Sequence[Answers],
    ) -> Gain:  # fmt: skip
        students, baselines, drawn = self._both(metric, runs, opened)
        sign = better.sign(metric)
        samples: Floats = sign * np.mean(
            [s - b for s, (_, b) in zip(drawn, baselines, strict=True)], axis=0
        )
        pairs = [(s, b) for s, (b, _) in zip(students, baselines, strict=True)]
        differ = np.stack([(s.told() != b.told()).any(axis=1) for s, b in pairs]).any(axis=0)
        found = inference.interval(each, samples, int(differ.sum()))
        exact = _mcnemar(metric, *pairs[0]) if len(runs) == 1 else None
        return replace(
            gain, low=found.low, high=found.high, p=found.p if exact is None else exact,
            test=MCNEMAR if exact is not None else ROWS if len(runs) == 1 else BOTH,
        )  # fmt: skip

    def _both(
        self, metric: str, runs: Sequence[Result], opened: Sequence[Answers]
    ) -> tuple[list[Scored], list[tuple[Scored, Floats]], list[Floats]]:
        """Return students, baselines with their value in each sample, and the students' values."""
        split = opened[0].set_of(metric)
        resamples = self._resamples.setdefault(split, Resamples(self._asked.size(split), TIMES))
        students, baselines = [], []
        for run, answers in zip(runs, opened, strict=True):
            students.append(_checked(metric, "student", run, answers))
            key = _baseline(run), metric
            if key not in self._baselines:
                baseline = _checked(metric, "baseline", run, answers)
                self._baselines[key] = baseline, over([baseline], resamples)[0]
            baselines.append(self._baselines[key])
        return students, baselines, over(students, resamples)


def corrected(gains: Sequence[Mapping[str, Gain]]) -> list[dict[str, Gain]]:
    """Return the gains of all cells with Holm's correction, each metric a family of its own.

    Args:
        gains: Of each cell, by metric.
    """
    found = [dict(each) for each in gains]
    for metric in dict.fromkeys(name for each in gains for name in each):
        known = [each for each in found if metric in each and each[metric].p is not None]
        levels = [each[metric].p or 0.0 for each in known]
        for each, adjusted in zip(known, inference.holm(levels), strict=True):
            each[metric] = replace(each[metric], adjusted=adjusted)
    return found


def _baseline(run: Result) -> str:
    return run.fingerprints.get("baseline") or str(run.folder)


def _checked(metric: str, model: str, run: Result, answers: Answers) -> Scored:
    """Return a model's answers under a metric, held against the result.

    Raises:
        NotThere: If the file does not tell the metric.
        DataError: If it tells another value than the result.
    """
    found = answers.scored(metric, model)
    told, value = run.metrics[model][metric], found.value()
    if not abs(told - value) <= _NEAR * max(1.0, abs(told)):
        raise DataError(
            f"predictions.parquet and result.json are of different runs: {metric} of the {model} is"
            f" {value:.4f} by the one, {told:.4f} by the other"
        )
    return found


def _mcnemar(metric: str, student: Scored, baseline: Scored) -> float | None:
    """Return McNemar's p where the metric is a share of rows that are right, else None."""
    ours, theirs = student.told(), baseline.told()
    if not metric.startswith(("accuracy", "exact")) or ours.shape[1] != 1:
        return None
    if not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        return None
    return inference.mcnemar(int((ours > theirs).sum()), int((ours < theirs).sum()))


def _short(error: Exception, folder: Path | None) -> str:
    """Return an error without the way to the run's folder, so that those of several runs agree."""
    return str(error).replace(f"{folder}/", "") if folder else str(error)
