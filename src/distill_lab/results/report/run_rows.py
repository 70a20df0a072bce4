"""The table of runs, each with the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_lab.results.compare import Comparison
from distill_lab.results.report.study import Study, short
from distill_lab.results.result import Result

_FROM_PYTHON = "started from Python; its settings are in config.yaml"


@dataclass(frozen=True)
class RunRow:
    """A run in the table.

    Attributes:
        name: Of its folder.
        settings: In which it differs from others of its comparison.
        seed: Of student and baseline.
        metric: Name of the main metric.
        student: On the evaluation split.
        gain: Over the baseline of the same seed; None without one.
        selection: Student on the selection split.
        seconds: That the student's training took.
        command: Repeats it; empty where none was typed.
        status: "finished", or what became of it.
        why: It failed.
    """

    name: str
    settings: str
    seed: int | None = None
    metric: str = ""
    student: float | None = None
    gain: float | None = None
    selection: float | None = None
    seconds: float | None = None
    command: str = ""
    status: str = "finished"
    why: str = ""


def run_rows(study: Study) -> list[RunRow]:
    """Return finished runs in the order of the comparisons, then failed and unfinished ones."""
    rows = [row for comparison in study.comparisons for row in _finished(comparison)]
    rows += [
        RunRow(f.name, "", status="failed", why=why) for f, why in study.collected.failed.items()
    ]
    return [*rows, *(RunRow(f.name, "", status="unfinished") for f in study.collected.unfinished)]


def _finished(comparison: Comparison) -> Sequence[RunRow]:
    return [
        RunRow(
            run.folder.name if run.folder else "",
            ", ".join(f"{short(key)}={value}" for key, value in line.label.items()),
            run.seed, run.metric, run.main("student"), run.gain,
            run.cost.get("student", {}).get("selection"),
            run.cost.get("student", {}).get("seconds"),
            command(run),
        )
        for line in comparison.students
        for run in sorted(line.results, key=lambda run: run.seed)
    ]  # fmt: skip


def command(run: Result) -> str:
    """Return the line that repeats a run, quoted for a shell; empty for one from Python."""
    if not run.overrides and not _typed(run.folder):
        return ""
    return shlex.join(["distill-lab", "train", *run.overrides])


def _typed(folder: Path | None) -> bool:
    """Whether a run was typed, of which Hydra leaves its folder."""
    return folder is not None and (folder / ".hydra").is_dir()


def said_of_command(row: RunRow) -> str:
    """Return the command, or why there is none."""
    if row.status != "finished":
        return row.why
    return row.command or _FROM_PYTHON
