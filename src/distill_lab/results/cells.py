"""Runs that differ in their seed alone, and in what such cells differ from each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from distill_lab.better import sign
from distill_lab.results.result import Result
from distill_lab.store import digest
from distill_lab.values import leaves

# What may differ between runs that are averaged, or does not matter to what was learned.
_NOT_COMPARED = {"seed", "study", "logger", "store_dir", "baseline", "recipe", "launch", "workers"}
# Nor do these: when a run saves itself, and from when on its teacher is refused.
_NOT_LEARNED = ("callbacks.finite.", "callbacks.resume.", "teacher.min_over_chance")
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
        every = (r.metrics.get(model, {}) for r in self.results)
        return [metrics[metric] for metrics in every if metric in metrics]

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return sorted(result.seed for result in self.results)

    @property
    def score(self) -> float:
        """The student's main metric on the evaluation split, mean over seeds."""
        return mean(self.values("student", self.results[0].metric))

    def selection(self, model: str = "student") -> float | None:
        """Return a model's main metric on the selection split, mean over seeds, if all have it."""
        found = [r.cost.get(model, {}).get("selection") for r in self.results]
        known = [value for value in found if value is not None]
        return mean(known) if len(known) == len(found) else None


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


def flatten(result: Result) -> dict[str, Any]:
    """Return a run's settings as dotted keys, without seed, logs and places."""
    flat: dict[str, Any] = {f"{g}": result.choices[g] for g in _GROUPS if g in result.choices}
    for group, node in result.config.items():
        if group not in _NOT_COMPARED:
            found = leaves(node, group)
            flat |= {key: _number(value) for key, value in found.items() if _is_setting(key)}
    return flat


def _number(value: Any) -> Any:
    """Return a number as it is typed: 4.0 of a yaml is the 4 of a command line."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_setting(key: str) -> bool:
    return "_target_" not in key and not key.startswith(_NOT_LEARNED)


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
