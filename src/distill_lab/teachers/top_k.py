"""A teacher of whom only the largest logits are known."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.folders import entry_folders
from distill_lab.objectives import Objective
from distill_lab.store import Store, digest
from distill_lab.teachers.caching import Caching
from distill_lab.top_logits import TopK, top_logits
from distill_lab.types import Batch, Outputs, Problem, TeacherSource, Wanted

log = logging.getLogger(__name__)


def settled(
    caching: Caching, objective: Objective, problem: Problem, callbacks: Mapping[str, Any]
) -> TopK | None:
    """Return what of the teacher's logits the student gets to know; None for all.

    Args:
        caching: What is asked for.
        objective: Prepared; tells at which temperatures it compares.
        problem: Tells the number of classes.
        callbacks: Configurations by name; one may let T change.

    Raises:
        ConfigError: If the objective cannot do with these logits, or at these temperatures.
    """
    if caching.top_k is None:
        return None
    key = f"teacher.cache_top_k={caching.top_k}"
    if problem.kind == "spans":
        raise ConfigError(
            f"{key}: the classes of an answer's ends are the tokens of its row, few enough to keep"
            " all; take teacher.cache_top_k=null"
        )
    if problem.kind == "regression":
        raise ConfigError(
            f"{key}: a regression has one number a row; take teacher.cache_top_k=null"
        )
    if caching.top_k > problem.num_labels:
        raise ConfigError(
            f"{key}: the task has {problem.num_labels} classes; take at most as many, or null for"
            " all"
        )
    parts = objective.with_parts()
    for part in parts:
        if part.all_logits:
            raise ConfigError(
                f"{key}: {_called(part)} needs all logits; take hinton, reverse_kl, jsd or skew_kl,"
                " or teacher.cache_top_k=null"
            )
    asked = sorted({float(p.temperature) for p in parts if "temperature" in p.scheduled})
    if "temperature" in objective.scheduled:
        _refuse_schedules(callbacks, key)
    kept = sorted({float(t) for t in caching.temperatures or asked})
    missing = [t for t in asked if t not in kept]
    if missing:
        raise ConfigError(
            f"teacher.cache_temperatures={kept}: the objective compares at T = {missing[0]:g}, and"
            f" the mass outside the {caching.top_k} largest logits would be known at no other; add"
            " it"
        )
    return TopK(caching.top_k, tuple(kept))


def _refuse_schedules(callbacks: Mapping[str, Any], key: str) -> None:
    for name, node in callbacks.items():
        schedule = node.get("temperature_schedule", "constant")
        if schedule != "constant":
            raise ConfigError(
                f"callbacks.{name}.temperature_schedule={schedule}: with {key} the mass of the"
                " other logits is known at chosen temperatures only; take a constant T, or"
                " teacher.cache_top_k=null"
            )


def _called(objective: Objective) -> str:
    module, name = type(objective).__module__, type(objective).__name__
    shipped = module.startswith("distill_lab.objectives.")
    return f"objective={module.rpartition('.')[2]}" if shipped else f"the objective {name}"


@dataclass(frozen=True)
class Largest:
    """A source whose logits are reduced as stored ones are, so that both give the same losses."""

    source: TeacherSource
    top: TopK

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Return the source's signals, of the logits the largest."""
        outputs = self.source.signals(batch, wanted)
        none = outputs.logits.new_empty(len(outputs.logits), 0)
        return replace(outputs, logits=none, top=top_logits(outputs.logits, self.top))


def reduced(source: TeacherSource, top: TopK | None) -> TeacherSource:
    """Return a source that gives what of the logits is to be known."""
    return source if top is None else Largest(source, top)


def serving(store: Store, ingredients: Mapping[str, Any], top: TopK) -> TopK:
    """Return what an entry of the store holds that has the logits and more temperatures.

    Args:
        store: Where to look.
        ingredients: Of the entry that holds no more than what is asked for, with `top`.
        top: What is asked for; returned where there is no such entry, or where its own is there.
    """
    if store.path("signals", ingredients).is_dir():
        return top
    held = [each for each in _alike(store, ingredients) if set(top.temperatures) <= set(each)]
    return replace(top, temperatures=min(held, key=len)) if held else top


def beside(store: Store, ingredients: Mapping[str, Any]) -> list[float]:
    """Return the temperatures of entries that differ from one in nothing else."""
    return sorted({t for each in _alike(store, ingredients) for t in each})


def _alike(store: Store, ingredients: Mapping[str, Any]) -> Iterator[tuple[float, ...]]:
    """Give the temperatures of each entry that has the same besides."""
    for folder in entry_folders(store.root):
        if folder.parent.name == "signals":
            with suppress(OSError, ValueError, KeyError, TypeError):
                theirs = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
                given = theirs["ingredients"]
                if digest(_without(given)) == digest(_without(ingredients)):
                    yield tuple(given["top"]["temperatures"])


def _without(ingredients: Mapping[str, Any]) -> dict[str, Any]:
    top = {"k": ingredients["top"]["k"]}
    return {**ingredients, "top": top}


class MassOutside:
    """What lies outside the kept logits, over all rows."""

    def __init__(self, top: TopK) -> None:
        self.top = top
        self._sum = dict.fromkeys(top.temperatures, 0.0)
        self._largest = dict.fromkeys(top.temperatures, 0.0)
        self._rows = 0

    def add(self, outputs: Outputs) -> None:
        """Count the rows of a batch."""
        if outputs.top is None:
            return
        self._rows += len(outputs.top.values)
        for t in self.top.temperatures:
            mass = outputs.top.outside(t).double()
            self._sum[t] += mass.sum().item()
            self._largest[t] = max(self._largest[t], mass.max().item())

    def write(self, path: Path, classes: int) -> None:
        """Write mean and largest mass at each temperature as JSON, and tell them."""
        content = {**asdict(self.top), "classes": classes, "mass_outside": self._found()}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if self.top.temperatures:
            said = "teacher: probability outside the %d largest of %d logits: %s"
            log.info(said, self.top.k, classes, self)

    def __str__(self) -> str:
        """What is said when it is stored."""
        return "; ".join(
            f"mean {each['mean']:.3g}, largest {each['largest']:.3g} at T = {each['temperature']:g}"
            for each in self._found()
        )

    def _found(self) -> list[dict[str, float]]:
        return [
            {"temperature": t, "mean": self._sum[t] / max(self._rows, 1), "largest": most}
            for t, most in self._largest.items()
        ]
