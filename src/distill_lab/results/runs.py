"""Finding runs: which have finished, which have not, and which can be held against each other."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill_lab.errors import DataError
from distill_lab.launch.jobs import CONFIG_FILE, ERROR_FILE, last_error
from distill_lab.results.cells import flatten
from distill_lab.results.result import FILE, FINISHED, Result
from distill_lab.results.run_folder import what_there_is
from distill_lab.store import digest

_OF_A_RUN = {"student", "checkpoints", ".hydra", "wandb"}  # folders in which no run lies
_SHOWN = 3  # folders of a kind that are named


@dataclass(frozen=True)
class Collected:
    """Runs that are compared, and those that are not.

    Attributes:
        results: One for each seed of the same settings.
        repeated: How many more there are of the same settings and seed.
        pruned: How many a search has ended early.
        failed: Folders of runs that left an error, with its last line.
        unfinished: Folders of runs that left neither a result nor an error: still at work, or ended
            from outside.
        damaged: What is wrong with results that cannot be read; each sentence names its file.
    """

    results: list[Result]
    repeated: int = 0
    pruned: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def left_out(self) -> list[str]:
        """Return what is said of those that are not compared."""
        said = {
            "runs with the settings and the seed of another, counted once": self.repeated,
            "runs that a search has pruned, left out": self.pruned,
        }
        lines = [f"{what}: {count}" for what, count in said.items() if count]
        if self.failed:
            lines += [f"runs that failed, left out: {len(self.failed)}"]
            lines += _first([f"  {folder}: {why}" for folder, why in self.failed.items()])
        if self.unfinished:
            lines += [f"runs that have not finished, left out: {len(self.unfinished)}"]
            lines += _first([f"  {folder}" for folder in self.unfinished])
        if self.damaged:  # every one is named: it looks like a result and is none
            lines += [f"results that cannot be read, left out: {len(self.damaged)}"]
            lines += [f"  {why}" for why in self.damaged]
        return lines


@dataclass(frozen=True)
class Group:
    """Runs that can be compared with each other.

    Attributes:
        results: Of one task, evaluation rows, tokeniser, teacher, student architecture, metrics.
        apart: In what they differ from the runs of the first group, such as "other evaluation
            rows"; empty for the first group itself.
    """

    results: list[Result]
    apart: tuple[str, ...] = ()


def collect(paths: Sequence[Path]) -> Collected:
    """Read all results at or below some folders.

    Args:
        paths: Folders of runs or studies, or files `result.json`.

    Raises:
        DataError: If a path does not exist, if there is no finished run at all, or if every result
            is damaged; names the file or folder.
    """
    found: dict[Path, Result] = {}
    failed: dict[Path, str] = {}
    unfinished: dict[Path, None] = {}
    damaged: dict[str, None] = {}
    for path in paths:
        if not os.path.exists(path):  # false, too, for a name that no file can have
            raise DataError(f"{path}: there is no such run or study{what_there_is(path)}")
        for folder in [path.parent] if path.is_file() else _run_folders(path):
            file = path if path.is_file() else folder / FILE
            if file.is_file():
                try:
                    found[file.resolve()] = _read(file)
                except DataError as error:
                    damaged[str(error)] = None
            elif (folder / ERROR_FILE).is_file():
                failed[folder] = last_error(folder) or "it left an empty error.txt"
            else:
                unfinished[folder] = None
    if not found:
        raise DataError(_nothing(paths[0], list(damaged), failed, list(unfinished)))
    finished = [result for result in found.values() if result.status == FINISHED]
    if not finished:
        raise DataError(f"{paths[0]}: no finished run is here; all were pruned by a search")
    finished.sort(key=lambda result: "baseline" in result.metrics)  # the last one stays
    once = {digest([flatten(r), r.seed, comparable(r)]): r for r in finished}
    pruned = len(found) - len(finished)
    repeated = len(finished) - len(once)
    left = failed, list(unfinished), list(damaged)
    return Collected(list(once.values()), repeated, pruned, *left)


def together(results: Sequence[Result]) -> list[Group]:
    """Divide runs into those that can be compared, in the order in which they were found.

    Runs of a group share task, evaluation rows, tokeniser, teacher, the student's architecture and
    metrics; of other groups it is told in what they differ.
    """
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[comparable(result)].append(result)
    first = next(iter(groups), ())
    return [Group(group, _apart(first, key)) for key, group in groups.items()]


_SHARED = (
    "another task", "other evaluation rows", "another tokeniser", "another teacher",
    "another student architecture", "other metrics",
)  # fmt: skip


def comparable(result: Result) -> tuple[str, ...]:
    """Return what runs have to share so that they can be compared, in the order of `_SHARED`."""
    prints = result.fingerprints
    shared = (prints.get(name, "") for name in ("evaluation", "tokenizer", "teacher"))
    scored = " ".join((result.metric, *result.metrics["student"])) if result.metrics else ""
    student = result.choices.get("student", "")
    student = result.choices.get("student@student.of", student)  # int8 beside its float form
    return (result.task, *shared, student, scored)


def _read(file: Path) -> Result:
    """Read a result that has the numbers that are compared.

    Raises:
        DataError: If it is none, or lacks them.
    """
    result = Result.read(file)
    if result.status == FINISHED:
        try:
            float(result.rows["evaluation"]), float(result.metrics["student"][result.metric])
            for model, metrics in result.metrics.items():
                float(metrics[result.metric]), result.parameters(model)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{file}: not a result of distill-lab (no {error})") from error
    return result


def _apart(first: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    differ = [n for n, a, b in zip(_SHARED, first, own, strict=True) if a != b]
    # Another task has other rows, another teacher, other metrics: that is no news.
    return (differ[0],) if differ[:1] == [_SHARED[0]] else tuple(differ)


def _run_folders(path: Path) -> Iterator[Path]:
    """Give the folders of runs at or below a folder, in the order of their names."""
    for where, folders, files in os.walk(path):
        folders[:] = sorted(set(folders) - _OF_A_RUN)
        if not {FILE, CONFIG_FILE, ERROR_FILE}.isdisjoint(files):
            yield Path(where)


def _nothing(
    path: Path, damaged: Sequence[str], failed: dict[Path, str], unfinished: Sequence[Path]
) -> str:
    """Return why there is nothing to compare, in one sentence."""
    if damaged:
        more = f" (and {len(damaged) - 1} more like it)" if len(damaged) > 1 else ""
        return damaged[0] + more
    if failed:
        folder, why = next(iter(failed.items()))
        rest = f", {len(unfinished)} have not finished" if unfinished else ""
        return f"{path}: no finished run is here; {len(failed)} failed{rest}; {folder}: {why}"
    if unfinished:
        return f"{path}: no finished run is here; {len(unfinished)} have not finished"
    return f"{path}: no finished run is here (no {FILE} at or below it)"


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"  and {more} more"]
