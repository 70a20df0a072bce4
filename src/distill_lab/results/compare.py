"""Several runs side by side: mean and spread over seeds, gain over the baseline."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich import box
from rich.table import Table

from distill_lab.better import retention, sign
from distill_lab.errors import DataError
from distill_lab.results.result import FILE, FINISHED, Result
from distill_lab.results.tables import averaged, millions, signed, spread
from distill_lab.store import digest
from distill_lab.values import leaves

# What may differ between runs that are averaged, or does not matter to what was learned.
_NOT_COMPARED = {"seed", "study", "logger", "store_dir", "baseline", "recipe"}
_GROUPS = ("task", "teacher", "student", "objective", "optim", "trainer", "callbacks")
_OF_BASELINE = {"task", "student", "optim", "trainer"}


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone.

    Attributes:
        label: The settings in which this cell differs from the others of its table.
        results: One for each seed.
    """

    label: dict[str, str]
    results: list[Result]

    def values(self, model: str, metric: str) -> list[float]:
        """Return a metric of a model, one for each run that has it."""
        return [r.metrics[model][metric] for r in self.results if model in r.metrics]

    @property
    def score(self) -> float:
        """The student's main metric on the evaluation split, mean over seeds."""
        return mean(self.values("student", self.results[0].metric))

    def selection(self, model: str = "student") -> float | None:
        """Return a model's main metric on the selection split, mean over seeds, if all have it."""
        found = [r.cost.get(model, {}).get("selection") for r in self.results]
        known = [value for value in found if value is not None]
        return mean(known) if len(known) == len(found) else None


@dataclass(frozen=True)
class Collected:
    """Runs that are compared, and how many are not.

    Attributes:
        results: One for each seed of the same settings.
        repeated: How many more there are of the same settings and seed.
        pruned: How many a search has ended early.
    """

    results: list[Result]
    repeated: int = 0
    pruned: int = 0

    def left_out(self) -> list[str]:
        """Return what is said of those that are not compared."""
        said = {
            "runs with the settings and the seed of another, counted once": self.repeated,
            "runs that a search has pruned, left out": self.pruned,
        }
        return [f"{what}: {count}" for what, count in said.items() if count]


def collect(paths: Sequence[Path]) -> Collected:
    """Read all results at or below some folders.

    Raises:
        DataError: If a path does not exist or there is no finished run below it.
    """
    found: dict[Path, Result] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such run or study")
        files = [path] if path.is_file() else sorted(path.rglob(FILE))
        if not files:
            raise DataError(f"{path}: no finished run is here (no {FILE} at or below it)")
        found |= {file.resolve(): Result.read(file) for file in files}
    finished = [result for result in found.values() if result.status == FINISHED]
    if not finished:
        raise DataError(f"{paths[0]}: no finished run is here; all were pruned by a search")
    finished.sort(key=lambda result: "baseline" in result.metrics)  # the last one stays
    once = {digest([flatten(r), r.seed, _comparable(r)]): r for r in finished}
    pruned = len(found) - len(finished)
    return Collected(list(once.values()), len(finished) - len(once), pruned)


def tables(results: Sequence[Result]) -> list[Table]:
    """Return a table for each set of runs that can be compared.

    These share task, evaluation rows, metrics, teacher and the student's architecture.
    """
    together: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        together[_comparable(result)].append(result)
    return [_table(group) for group in together.values()]


def cells(results: Sequence[Result]) -> list[Cell]:
    """Group runs by everything but the seed, best mean on the selection split first.

    So what is chosen from the top is not chosen by the rows that are reported. A cell's label holds
    what differs; a setting of an objective (or of another group) only where runs of that same
    objective differ in it.
    """
    return sorted(_grouped(results, [flatten(result) for result in results]), key=_rank)


def baselines(results: Sequence[Result]) -> list[Cell]:
    """Group the baselines of runs by what decides them besides the seed; each counts once."""
    each = {r.fingerprints.get("baseline", ""): r for r in results if "baseline" in r.metrics}
    settings = [
        {key: value for key, value in flatten(result).items() if key.split(".")[0] in _OF_BASELINE}
        for result in each.values()
    ]
    return _grouped(list(each.values()), settings)


def _grouped(results: Sequence[Result], settings: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return a cell for each of the settings, labelled by what differs."""
    telling = _telling(settings)
    grouped: dict[str, Cell] = {}
    for result, own in zip(results, settings, strict=True):
        label = {key: str(value) for key, value in own.items() if _scoped(key, own) in telling}
        grouped.setdefault(digest(own), Cell(label, [])).results.append(result)
    return list(grouped.values())


def _rank(cell: Cell) -> tuple[bool, float]:
    chosen = cell.selection()
    score = cell.score if chosen is None else chosen
    return chosen is None, -sign(cell.results[0].metric) * score


def _scoped(key: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return a key with the choice of its group, within which it is compared."""
    group = key.split(".")[0]
    return key, "" if key == group else f"{group}={settings.get(group)}"


def _telling(settings: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return the scoped keys that have several values, or that some runs of the scope lack."""
    values: dict[tuple[str, str], list[str]] = defaultdict(list)
    runs: Counter[str] = Counter()
    for own in settings:
        scoped = {_scoped(key, own): str(value) for key, value in own.items()}
        runs.update({scope for _, scope in scoped})
        for key, value in scoped.items():
            values[key].append(value)
    return {k for k, found in values.items() if len(set(found)) > 1 or len(found) < runs[k[1]]}


def flatten(result: Result) -> dict[str, Any]:
    """Return a run's settings as dotted keys, without seed, logs and places."""
    flat: dict[str, Any] = {f"{g}": result.choices[g] for g in _GROUPS if g in result.choices}
    for group, node in result.config.items():
        if group not in _NOT_COMPARED:
            found = leaves(node, group)
            flat |= {key: value for key, value in found.items() if "_target_" not in key}
    return flat


def _comparable(result: Result) -> tuple[str, ...]:
    prints = result.fingerprints
    student = result.choices.get("student", "")
    shared = (prints.get(name, "") for name in ("evaluation", "tokenizer", "teacher"))
    scored = (result.metric, *result.metrics["student"]) if result.metrics else ()
    return (result.task, *shared, student, *scored)


def _table(results: Sequence[Result]) -> Table:
    first = results[0]
    rows = cells(results)
    keys = list(dict.fromkeys(key for cell in rows for key in cell.label))
    metrics = list(first.metrics["student"])
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{first.task}: teacher {first.choices.get('teacher_name', '')},"
        f" student {first.choices.get('student', '')};"
        f" evaluation split, {first.rows['evaluation']:,} rows",
        title_justify="left",
        caption="mean ± standard deviation over seeds; gain: student - baseline of the same seed;"
        " selection: the main metric\non the rows that chose the epoch: it orders the students, and"
        " is what to choose settings by",
        caption_justify="left",
    )
    for heading in ("", *(key.removeprefix("objective.") for key in keys)):
        table.add_column(heading)
    for heading in ("seeds", "selection", *metrics, "gain", "retention", "parameters"):
        table.add_column(heading, justify="right", no_wrap=True)
    named = [("teacher", Cell({}, [first]))]
    named += [("baseline", cell) for cell in baselines(results)]
    named += [("student", cell) for cell in rows]
    for model, cell in named:
        label = [cell.label.get(key, "") for key in keys]
        cost = _student(cell, metrics) if model == "student" else _reference(cell, model, metrics)
        table.add_row(model, *label, *cost)
    return table


def _reference(cell: Cell, model: str, metrics: Sequence[str]) -> list[str]:
    """Return the row of a model that several runs share."""
    teacher = cell.results[0].main("teacher") or 0.0
    score = mean(cell.values(model, cell.results[0].metric))
    seeds = str(len(cell.results)) if model == "baseline" else ""
    kept = retention(cell.results[0].metric, score, teacher) if model == "baseline" else None
    parameters = millions(cell.results[0].parameters(model))
    means = [averaged(cell.values(model, m)) for m in metrics]
    share = "" if kept is None else f"{kept:.1%}"
    return [seeds, _chosen(cell, model), *means, "", share, parameters]


def _student(cell: Cell, metrics: Sequence[str]) -> list[str]:
    gains = [r.gain for r in cell.results if r.gain is not None]
    retentions = [r.retention for r in cell.results if r.retention is not None]
    return [
        str(len(cell.results)),
        _chosen(cell, "student"),
        *(averaged(cell.values("student", metric)) for metric in metrics),
        signed(gains) if gains else "",
        f"{mean(retentions):.1%}" if retentions else "",
        millions(cell.results[0].parameters("student")),
    ]


def _chosen(cell: Cell, model: str) -> str:
    score = cell.selection(model)
    return "" if score is None else spread(score, None)
