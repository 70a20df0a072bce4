"""What is measured: the models of runs, and models by folder or hub name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill_lab.bench.asked import name_and_place
from distill_lab.errors import ConfigError, DataError, UsageError
from distill_lab.heads import has_head
from distill_lab.labels import label_names
from distill_lab.models import load_config
from distill_lab.results.result import FILE, Result
from distill_lab.results.run_folder import is_exported
from distill_lab.serving.origin import teacher_folder
from distill_lab.serving.served import Served, open_run
from distill_lab.types import Problem

_ROLES = ("teacher", "student", "baseline")
Owner = tuple[Path, str]


@dataclass(frozen=True)
class Subject:
    """A model that is measured.

    Attributes:
        name: What tables call it.
        path: Folder or hub name.
        problem: What it answers; None where it has no head of its own.
        owners: Runs whose results are told of it, with what they call it.
        times: How often it was met among what was named.
    """

    name: str
    path: str
    problem: Problem | None
    owners: tuple[Owner, ...] = ()
    times: int = 1


@dataclass(frozen=True)
class Found:
    """What was named, opened.

    Attributes:
        subjects: Each model once.
        first_run: The student of the first run that was named.
        left_out: Models that are not there any more, with the reason.
    """

    subjects: list[Subject]
    first_run: Served | None
    left_out: list[tuple[str, str]]


@dataclass(frozen=True)
class _Named:
    """What somebody has typed.

    Attributes:
        label: What to call it.
        path: Where it is.
        run: Whether that is a run.
    """

    label: str
    path: str
    run: bool


def find(
    typed: Sequence[str], teacher: bool, baseline: bool, store_dir: Path | None = None
) -> Found:
    """Open what was named.

    Args:
        typed: Folders of runs or models, or hub names; `NAME=` before one gives it another name.
        teacher: Whether the teachers of the runs are measured too, where they are in the store.
        baseline: The same of their baselines.
        store_dir: Another store than that of the runs' configurations.

    Raises:
        UsageError: If something is neither a run nor a model, or named twice.
    """
    named = _labelled([_named(each) for each in typed])
    subjects, left_out = list[Subject](), list[tuple[str, str]]()
    first: Served | None = None
    taken = any(each.label in _ROLES for each in named if not each.run)
    single = sum(each.run for each in named) == 1 and not taken
    for each in named:
        if not each.run:
            subjects.append(Subject(each.label, each.path, own_problem(each.path)))
            continue
        served = open_run(Path(each.path))
        first = first or served
        wanted = [name for name, on in (("teacher", teacher), ("baseline", baseline)) if on]
        for role in _ROLES:
            if role not in ("student", *wanted):
                continue
            label = role if single else each.label if role == "student" else f"{each.label} {role}"
            owner = (Path(each.path), role)
            try:
                path = _path(served, role, store_dir)
            except UsageError as error:
                left_out.append((label, str(error)))
                continue
            subjects.append(Subject(label, path, served.problem, (owner,)))
    return Found(_once(subjects), first, left_out)


def own_problem(path: str) -> Problem | None:
    """Return what a model answers by its own configuration; None where it has no head.

    Raises:
        ModelError: If there is no such model.
    """
    config = load_config(path)
    names = tuple(label_names(config))
    words = int(getattr(config, "vocab_size", 0) or 0)
    kind: Any = "regression" if config.problem_type == "regression" else "classification"
    for problem in (
        Problem(kind, names[:1] if kind == "regression" else names),
        Problem("classification", names, reads="images"),
        Problem("spans", ("start", "end")),
        Problem("causal_lm", (), words),
        Problem("masked_lm", (), words),
    ):
        if has_head(config, problem):
            return problem
    return None


def _named(typed: str) -> _Named:
    """Tell a run from a model, and a name from a path that has an equals sign in it."""
    label, path = name_and_place(typed)
    folder = Path(path)
    if is_exported(folder):
        raise DataError(f"{path}: exported from a run; measure the run, in its forms (--forms)")
    if (folder / FILE).is_file():
        return _Named(label, path, True)
    if folder.is_dir() and not (folder / "config.json").is_file():
        below = next(folder.rglob(FILE), None)
        if below is not None:
            raise DataError(f"{path}: a study; name its runs, such as {below.parent}")
        raise DataError(
            f"{path}: neither the folder of a finished run (it has no {FILE}) nor of a model (it"
            " has no config.json)"
        )
    return _Named(label, path, False)


def _labelled(named: Sequence[_Named]) -> list[_Named]:
    """Give each its name: that of its folder, its path where two folders have the same name."""
    places = [_place(each.path) for each in named]
    for each, place in zip(named, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"{each.path}: named twice; each model is measured once")
    short = [each.label or Path(each.path).resolve().name for each in named]
    counts = Counter(short)
    full = [
        label if each.label or counts[label] == 1 else each.path
        for each, label in zip(named, short, strict=True)
    ]
    for label, count in Counter(full).items():
        if count > 1:
            raise ConfigError(f"{label}=: two have this name; give one of them another")
    return [replace(each, label=label) for each, label in zip(named, full, strict=True)]


def _place(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).exists() else path


def _once(subjects: Sequence[Subject]) -> list[Subject]:
    """Put models together that several runs share; a name that two have gets its path."""
    shared: dict[str, Subject] = {}
    for each in subjects:
        place = _place(each.path)
        known = shared.get(place)
        if known is None:
            shared[place] = each
        else:
            owners = (*known.owners, *each.owners)
            name, times = _of_both(known, each), known.times + 1
            shared[place] = replace(known, name=name, owners=owners, times=times)
    counts = Counter(each.name for each in shared.values())
    return [
        each if counts[each.name] == 1 else replace(each, name=f"{each.name} {each.path}")
        for each in shared.values()
    ]


def _of_both(known: Subject, other: Subject) -> str:
    """Return the name of a model that was met twice: what somebody typed, or what it is to runs."""
    typed = next((each.name for each in (known, other) if not each.owners), None)
    return typed or other.owners[-1][1]


def _path(served: Served, role: str, store_dir: Path | None) -> str:
    if role == "student":
        return str(served.folder / "student")
    store = store_dir or Path(served.config.store_dir)
    if role not in served.result.metrics:
        raise DataError(f"{served.folder}: the run has no {role}")
    if role == "baseline":
        return _baseline(served.result, store)
    return teacher_folder(served.result, replace(served.config, store_dir=str(store)))


def _baseline(result: Result, store: Path) -> str:
    path = store / "baselines" / result.fingerprints["baseline"] / "student"
    if not (path / "config.json").is_file():
        raise DataError(
            f"it is not in the store any more ({path}); name its store by --store-dir, or train it"
            " again"
        )
    return str(path)
