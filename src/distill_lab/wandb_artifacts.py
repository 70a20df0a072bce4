"""The student as an artifact of Weights & Biases, with the teacher that it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from distill_lab.results import Result
from distill_lab.store import digest

_LONGEST = 128  # letters of an artifact's name or alias


def log_artifacts(run: Any, result: Result, folder: Path) -> None:
    """Log the student as an output of a run and its teacher as an input.

    The teacher is a small description under the name `teacher-FINGERPRINT`: all runs of a sweep
    name the same one. The student is a version of `student-STUDY` with the run's name as alias;
    its files are uploaded where `logger.wandb.log_model` is true, else their checksums and the
    place where they lie.

    Args:
        run: Of W&B, not yet finished.
        result: The outcome.
        folder: The student's.
    """
    _use(run, _teacher(result))
    run.log_artifact(_student(result, folder), aliases=["latest", _safe(run.name)])


def _use(run: Any, artifact: Any) -> None:
    """Declare an input.

    W&B's own method refuses to do so offline, and online waits without end for a server that does
    not answer.
    """
    run._log_artifact(artifact, is_user_created=True, use_after_commit=True)


def _teacher(result: Result) -> Any:
    import wandb

    name = result.choices.get("teacher_name", "")
    about = {
        "name": name,
        "task": result.task,
        "fingerprint": result.fingerprints.get("teacher", ""),
        "parameters": result.parameters("teacher"),
        "metrics": result.metrics["teacher"],
    }
    artifact = wandb.Artifact(
        _safe(f"teacher-{about['fingerprint']}"), "model", f"teacher {name}", metadata=about
    )
    with artifact.new_file("teacher.json", mode="w", encoding="utf-8") as file:
        json.dump(about, file, indent=2, sort_keys=True)
    return artifact


def _student(result: Result, folder: Path) -> Any:
    import wandb

    uploaded = any(node.get("log_model") is True for node in result.config["logger"].values())
    about = {
        "task": result.task,
        "study": result.study,
        "seed": result.seed,
        "choices": result.choices,
        "metric": result.metric,
        "metrics": result.metrics,
        "fidelity": result.fidelity,
        "cost": result.cost.get("student", {}),
        "config": digest(result.config),
        "fingerprints": result.fingerprints,
        "uploaded": uploaded,
    }
    artifact = wandb.Artifact(_safe(f"student-{result.study}"), "model", metadata=about)
    if uploaded:
        artifact.add_dir(str(folder), policy="immutable")  # of which no copy is made first
    else:
        artifact.add_reference(folder.resolve().as_uri())
    return artifact


def _safe(name: str) -> str:
    """Return a name with the letters that W&B takes."""
    return re.sub(r"[^\w.-]", "-", name)[:_LONGEST]
