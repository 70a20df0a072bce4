"""What a run leaves behind: `result.json`."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_type_hints

from distill_lab import better
from distill_lab.config import GROUPS, Config
from distill_lab.errors import DataError, first_line
from distill_lab.plain_json import read_json
from distill_lab.store import write_atomically
from distill_lab.values import mismatch, unfit

FILE = "result.json"
FINISHED, PRUNED = "finished", "pruned"
_LATER = ("problem", "fidelity", "bench")  # which results of earlier versions lack
_PACKAGES = ("distill-lab", "torch", "pytorch-lightning", "transformers", "tokenizers")


@dataclass(frozen=True)
class Provenance:
    """How a run was asked for; `cli` reads it from Hydra.

    Attributes:
        choices: Chosen file of each config group, for example `objective: hinton`.
        overrides: What was typed.
    """

    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, config: Config) -> Provenance:
        """Name the choices of a configuration by their classes, where nobody typed a line."""
        nodes = {name: getattr(config, name) for name in GROUPS}
        named = {name: node for name, node in nodes.items() if "_target_" in node}
        return cls({name: node["_target_"].rpartition(".")[2] for name, node in named.items()})


@dataclass
class Result:
    """The outcome of one run; all of it is plain data.

    Attributes:
        status: "finished", or "pruned" for a trial that a search ended early: it has no metrics,
            and of its cost only the student's.
        study: Name of the study.
        choices: Names of task, teacher, student, objective, ...
        overrides: What was typed.
        seed: Seed of student and baseline.
        task: Name of the task.
        metric: Name of the main metric.
        metrics: For `student`, `baseline`, `teacher`: metric to value on the evaluation split.
        cost: For `student`, `baseline`, `teacher`: parameters, seconds, examples/s, memory, the
            epoch that the selection split chose and its score there.
        rows: Rows of each split.
        fingerprints: Of rows, tokeniser, the weights of teacher and student, the baseline.
        versions: Of Python and the packages that compute.
        git: Revision of the working folder, empty outside a repository.
        config: The resolved configuration.
        problem: What was to be learned, see `types.Problem`.
        fidelity: How the student's answers on the evaluation split stand to the teacher's and to
            the labels, by model: agreement, divergence, calibration (see `tasks.fidelity`).
        bench: What serving costs, as `distill-lab bench` has measured it; one entry a form of the
            model and a device.
        folder: Where the result lies; not written into it.
    """

    study: str
    choices: dict[str, str]
    overrides: list[str]
    seed: int
    task: str
    metric: str
    metrics: dict[str, dict[str, float]]
    cost: dict[str, dict[str, float | int | None]]
    rows: dict[str, int]
    fingerprints: dict[str, str]
    config: dict[str, Any]
    status: str = FINISHED
    versions: dict[str, str] = field(default_factory=lambda: versions())
    git: str = field(default_factory=lambda: git_revision())
    problem: dict[str, Any] = field(default_factory=dict)
    fidelity: dict[str, dict[str, float]] = field(default_factory=dict)
    bench: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = field(default=None, compare=False)

    def main(self, model: str) -> float | None:
        """Return a model's main metric, None if the run has no such model."""
        return self.metrics[model][self.metric] if model in self.metrics else None

    def parameters(self, model: str) -> int:
        """Return the number of weights of a model."""
        return int(self.cost[model]["parameters"] or 0)

    @property
    def retention(self) -> float | None:
        """Which share of the teacher's main metric the student keeps, see `better.retention`."""
        teacher, student = self.main("teacher"), self.main("student")
        if teacher is None or student is None:
            return None
        return better.retention(self.metric, student, teacher)

    @property
    def gain(self) -> float | None:
        """How much better the student is than the baseline; None without a baseline."""
        baseline, student = self.main("baseline"), self.main("student")
        if baseline is None or student is None:
            return None
        return better.gain(self.metric, student, baseline)

    def write(self, folder: Path) -> None:
        """Write `result.json`, whole or not at all."""
        content = {**asdict(self), "retention": self.retention, "gain": self.gain}
        del content["folder"]
        write_atomically(folder / FILE, json.dumps(content, indent=2, allow_nan=False) + "\n")

    @staticmethod
    def forget(folder: Path) -> None:
        """Delete the result of an earlier run, so that a new one that fails looks unfinished."""
        with suppress(FileNotFoundError):
            (folder / FILE).unlink()

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a `result.json`.

        Raises:
            DataError: If it is none.
        """
        try:
            content = read_json(path.read_text(encoding="utf-8"))
            later = {name: content[name] for name in _LATER if name in content}
            named = [item.name for item in fields(cls) if item.name not in (*_LATER, "folder")]
            given = {name: content[name] for name in named} | later
            _refuse_others(given, get_type_hints(cls))
            return cls(**given, folder=path.parent)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = first_line(error)
            raise DataError(f"{path}: not a result of distill-lab ({reason})") from error


def _refuse_others(given: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Refuse values that no run has written.

    Raises:
        ValueError: At the first one.
    """
    for name, value in given.items():
        wrong = mismatch(value, hints[name]) or next(iter(unfit(value).values()), "")
        if wrong:
            raise ValueError(f"{name} is not as a run writes it: {wrong}")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_revision() -> str:
    """Return the revision of the working folder's repository, or an empty string."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
