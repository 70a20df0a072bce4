"""Several runs side by side: mean and spread over seeds, gain over the baseline and its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from pathlib import Path
from statistics import mean, stdev

from distill_lab.better import retention
from distill_lab.results.cells import Cell, baselines, cells
from distill_lab.results.gains import Gain
from distill_lab.results.paired import Tester
from distill_lab.results.result import Result
from distill_lab.results.runs import Group, together

_MODELS = ("teacher", "baseline", "student")


@dataclass(frozen=True)
class Spread:
    """A number of several seeds.

    Attributes:
        mean: Over the seeds.
        sd: Standard deviation over the seeds; None for one.
        count: How many seeds.
    """

    mean: float
    sd: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return mean and standard deviation of at least one value."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Line:
    """One model of a comparison.

    Attributes:
        model: "teacher", "baseline" or "student".
        label: The settings in which it differs from others of its kind, by dotted key.
        seeds: Those of its runs; none for a teacher.
        selection: Its main metric on the selection split, mean over seeds; None if unknown.
        metrics: On the evaluation split, by name, the main one first.
        gains: Of a student over its baselines, by metric; empty without a baseline.
        retention: Share of the teacher's main metric that it keeps, mean over seeds; None where it
            means nothing.
        parameters: Number of weights.
        fidelity: See `Result.fidelity`, mean over the seeds that have it.
        results: Its runs; for the teacher one that has used it.
    """

    model: str
    label: dict[str, str]
    seeds: list[int]
    selection: float | None
    metrics: dict[str, Spread]
    gains: dict[str, Gain]
    retention: float | None
    parameters: int
    fidelity: dict[str, float] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list, repr=False)

    @property
    def gain(self) -> Gain | None:
        """The gain under the main metric."""
        return self.gains.get(next(iter(self.metrics)))

    @property
    def folders(self) -> list[Path]:
        """Where its runs lie."""
        return [result.folder for result in self.results if result.folder is not None]


@dataclass(frozen=True)
class Comparison:
    """Runs that can be compared, as plain data for tables, files and the report.

    Attributes:
        task: Name of the task.
        teacher: Name of the teacher.
        student: Name of the student architecture.
        studies: Names of the studies that the runs belong to.
        metric: The main metric.
        metrics: All of them, the main one first.
        rows: Rows of each split.
        keys: Settings in which lines differ, in the order of the columns.
        lines: Teacher, baselines, then students, the best on the selection split first.
        apart: In what its runs differ from those of the first comparison.
    """

    task: str
    teacher: str
    student: str
    studies: list[str]
    metric: str
    metrics: list[str]
    rows: dict[str, int]
    keys: list[str]
    lines: list[Line]
    apart: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is compared, in one line; with the study where it is set apart from another."""
        study = f"; study {', '.join(self.studies)}: {', '.join(self.apart)}" if self.apart else ""
        return (
            f"{self.task}: teacher {self.teacher}, student {self.student}; evaluation split,"
            f" {self.rows['evaluation']:,} rows{study}"
        )

    @property
    def students(self) -> list[Line]:
        """The students' lines."""
        return [line for line in self.lines if line.model == "student"]

    @property
    def tied(self) -> list[Line]:
        """The students that are as good as the first on the selection split, that one among them.

        Empty where no run was scored there.
        """
        first = self.students[0].selection if self.students else None
        if first is None:
            return []
        return [line for line in self.students if _same(line.selection, first)]

    @property
    def tested(self) -> list[Gain]:
        """The gains under the main metric that were tested."""
        gains = [line.gain for line in self.students]
        return [gain for gain in gains if gain is not None and gain.adjusted is not None]


def comparisons(results: Sequence[Result], *, tests: bool = True) -> list[Comparison]:
    """Return a comparison for each set of runs that can be compared, see `runs.together`.

    Args:
        results: Of finished runs, each seed of the same settings once.
        tests: Whether gains are tested, for which every `predictions.parquet` is read.
    """
    return [_comparison(group, tests) for group in together(results)]


def _comparison(group: Group, tests: bool) -> Comparison:
    first = group.results[0]
    metrics = list(first.metrics["student"])
    found = cells(group.results)
    tester = Tester(metrics, "" if tests else "tests were not asked for")
    gains = tester.gains(found)
    told = _fidelity("teacher", group.results)  # which the first run may lack
    lines = [replace(_line("teacher", Cell({}, [first]), {}), fidelity=told)]
    lines += [_line("baseline", cell, {}) for cell in baselines(group.results)]
    lines += [_line("student", cell, own) for cell, own in zip(found, gains, strict=True)]
    return Comparison(
        task=first.task,
        teacher=first.choices.get("teacher_name", ""),
        student=first.choices.get("student", ""),
        studies=list(dict.fromkeys(result.study for result in group.results)),
        metric=first.metric,
        metrics=metrics,
        rows=dict(first.rows),
        keys=list(dict.fromkeys(key for line in lines for key in line.label)),
        lines=lines,
        apart=group.apart,
    )


def _same(one: float | None, other: float) -> bool:
    """Whether two means are equal but for the order of their sums."""
    return one is not None and isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _line(model: str, cell: Cell, gains: dict[str, Gain]) -> Line:
    first = cell.results[0]
    return Line(
        model=model,
        label=cell.label,
        seeds=[] if model == "teacher" else cell.seeds,
        selection=cell.selection(model),
        metrics={name: Spread.of(cell.values(model, name)) for name in first.metrics[model]},
        gains=gains,
        retention=_retention(model, cell),
        parameters=first.parameters(model),
        fidelity=_fidelity(model, cell.results),
        results=cell.results,
    )


def _retention(model: str, cell: Cell) -> float | None:
    metric = cell.results[0].metric
    kept = [
        retention(metric, r.metrics[model][metric], r.main("teacher") or 0.0)
        for r in cell.results
        if model != "teacher"
    ]
    known = [share for share in kept if share is not None]
    return mean(known) if known else None


def _fidelity(model: str, results: Sequence[Result]) -> dict[str, float]:
    """Return the means of what runs tell of a model's fidelity and calibration."""
    told = [r.fidelity[model] for r in results if model in r.fidelity]
    names = dict.fromkeys(name for each in told for name in each)
    return {name: mean([each[name] for each in told if name in each]) for name in names}
