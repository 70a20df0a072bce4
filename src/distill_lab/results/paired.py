"""Paired tests of student against baseline on the same rows, for the cells of one comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill_lab import better
from distill_lab.errors import DataError
from distill_lab.results import inference
from distill_lab.results.asked import Answers, Asked
from distill_lab.results.cells import Cell
from distill_lab.results.gains import BOTH, MCNEMAR, ROWS, Gain, corrected
from distill_lab.results.metrics import NotThere
from distill_lab.results.resampling import Floats, Resamples
from distill_lab.results.result import Result
from distill_lab.results.rowwise import Scored, over

TIMES = 1000  # samples: the standard error they give is within some 2 % of that of endless ones
_AT_ONCE = 24  # runs whose answers lie in memory
_NEAR = 1e-4  # how near a metric from the file has to be to the one in the result


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
        self._baselines: dict[tuple[str, str], Drawn] = {}

    def gains(self, cells: Sequence[Cell]) -> list[dict[str, Gain]]:
        """Return the gain of each cell under each metric, corrected for their number.

        A cell without a baseline has none.
        """
        found: list[dict[str, Gain]] = []
        for batch in _batches(cells):
            found += self._batch(batch)
        return corrected(found)

    def _batch(self, cells: Sequence[Cell]) -> list[dict[str, Gain]]:
        """Test some cells; their rows are drawn together, which is what takes time."""
        found: list[dict[str, Gain]] = []
        tests: list[tuple[dict[str, Gain], str, list[Pair]]] = []
        for cell in cells:
            gains: dict[str, Gain] = {}
            found.append(gains)
            runs = [result for result in cell.results if "baseline" in result.metrics]
            if not runs:
                continue
            opened = self.why_not or self._open(runs)
            for metric in self.metrics:
                pairs = opened if isinstance(opened, str) else self._pairs(metric, runs, opened)
                each = tuple(gain for run in runs if (gain := _gain(metric, run)) is not None)
                gains[metric] = Gain.of(each, pairs if isinstance(pairs, str) else "")
                if not isinstance(pairs, str):
                    tests.append((gains, metric, pairs))
        self._draw([drawn for _, _, pairs in tests for pair in pairs for drawn in pair])
        for gains, metric, pairs in tests:
            gains[metric] = _tested(metric, gains[metric], pairs)
        return found

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

    def _pairs(
        self, metric: str, runs: Sequence[Result], opened: Sequence[Answers]
    ) -> list[Pair] | str:
        """Return student and baseline of each run under a metric, or why it is not told."""
        found = []
        for run, answers in zip(runs, opened, strict=True):
            key = _baseline(run), metric
            try:
                student = _checked(metric, "student", run, answers)
                if key not in self._baselines:
                    self._baselines[key] = _checked(metric, "baseline", run, answers)
            except (DataError, NotThere) as error:
                return _short(error, run.folder)
            found.append((student, self._baselines[key]))
        return found

    def _draw(self, models: Sequence[Drawn]) -> None:
        """Compute the metric in each sample, for all models that lack it at once."""
        lacking: dict[str, dict[int, Drawn]] = {}
        for model in models:
            if model.samples is None:
                lacking.setdefault(model.split, {})[id(model)] = model
        for split, each in lacking.items():
            own = self._resamples.setdefault(split, Resamples(self._asked.size(split), TIMES))
            found = over([model.scored for model in each.values()], own)
            for model, samples in zip(each.values(), found, strict=True):
                model.samples = samples


@dataclass
class Drawn:
    """A model under one metric.

    Attributes:
        scored: Its answers.
        split: The evaluation set.
        samples: The metric in each sample of the rows; None until it is drawn.
    """

    scored: Scored
    split: str
    samples: Floats | None = None


Pair = tuple[Drawn, Drawn]


def _batches(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Give cells in parts of some runs, so that the answers of few lie in memory."""
    part: list[Cell] = []
    for cell in cells:
        part.append(cell)
        if sum(len(one.results) for one in part) >= _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _gain(metric: str, run: Result) -> float | None:
    """Return a run's gain; None where the baseline has no such metric."""
    if metric not in run.metrics["baseline"]:
        return None
    student, baseline = run.metrics["student"][metric], run.metrics["baseline"][metric]
    return better.gain(metric, student, baseline)


def _tested(metric: str, gain: Gain, pairs: Sequence[Pair]) -> Gain:
    each = [ours.samples - theirs.samples for ours, theirs in pairs]  # type: ignore[operator]
    samples: Floats = np.mean(each, axis=0)  # of which only the spread matters
    told = [(ours.scored.told(), theirs.scored.told()) for ours, theirs in pairs]
    differ = np.stack([(ours != theirs).any(axis=1) for ours, theirs in told]).any(axis=0)
    differing = int(differ.sum())
    found = inference.interval(gain.each, samples, differing)
    exact = _mcnemar(metric, *told[0]) if len(pairs) == 1 else None
    return replace(
        gain, low=found.low, high=found.high, p=found.p if exact is None else exact,
        test=MCNEMAR if exact is not None else ROWS if len(pairs) == 1 else BOTH,
        differing=differing,
    )  # fmt: skip


def _baseline(run: Result) -> str:
    return run.fingerprints.get("baseline") or str(run.folder)


def _checked(metric: str, model: str, run: Result, answers: Answers) -> Drawn:
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
    return Drawn(found, answers.set_of(metric))


def _mcnemar(metric: str, ours: Floats, theirs: Floats) -> float | None:
    """Return McNemar's p where the metric is a share of rows that are right, else None."""
    if not metric.startswith(("accuracy", "exact")) or ours.shape[1] != 1:
        return None
    if not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        return None
    return inference.mcnemar(int((ours > theirs).sum()), int((ours < theirs).sum()))


def _short(error: Exception, folder: Path | None) -> str:
    """Return an error without the way to the run's folder, so that those of several runs agree."""
    return str(error).replace(f"{folder}/", "") if folder else str(error)
