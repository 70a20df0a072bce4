"""What a run's folder tells of the run: its result, its configuration, its task, its teacher."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from distill_lab.config import Config, Launch, build
from distill_lab.errors import ConfigError, DataError, ModelError, first_line
from distill_lab.launch.jobs import CONFIG_FILE
from distill_lab.models import weights_fingerprint
from distill_lab.results.result import Result
from distill_lab.signatures import faults_of
from distill_lab.tasks import Task
from distill_lab.types import Problem


def teacher_folder(result: Result, config: Config) -> str:
    """Return the folder or name of a run's teacher.

    Raises:
        ModelError: If the store does not have it any more, or it is several.
    """
    wanted, named = result.fingerprints.get("teacher"), config.teacher.get("model")
    kept = sorted(Path(config.store_dir).glob("teachers/*/config.json"))
    for place in [str(file.parent) for file in kept] + ([str(named)] if named else []):
        try:
            if weights_fingerprint(place, "teacher") == wanted:
                return place
        except ModelError:
            continue
    raise ModelError(
        f"{config.store_dir}: the teacher of {result.folder} is not there any more, or is an"
        " ensemble; only its student can be served"
    )


def read_config(folder: Path) -> Config:
    """Return the configuration of a run.

    Raises:
        DataError: If the file is missing or is none.
    """
    file = folder / CONFIG_FILE
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _no_config(file, error) from error
    return config_of(content, file)


def config_of(content: Any, file: Path) -> Config:
    """Return a configuration from plain data.

    Args:
        content: As read.
        file: Where it stands, for the error.

    Raises:
        DataError: If it is none.
    """
    try:
        return Config(**{**content, "launch": Launch(**content.get("launch", {}))})
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_config(file, error) from error


def _no_config(file: Path, error: Exception) -> DataError:
    reason = first_line(error)
    return DataError(f"{file}: not the configuration of a run ({reason})")


def task_of(config: Config, result: Result) -> tuple[Task, str]:
    """Return a run's task with its problem, and why its rows cannot be read."""
    gone, node = "", config.task
    faults = faults_of("task", node) if "_target_" in node else ["task: has no _target_"]
    if faults:
        raise ConfigError(faults)
    try:
        task: Task = build(config.task)
    except ConfigError as error:
        node = _without_folders(config.task)
        if node == config.task:
            raise
        task, gone = build(node), str(error)
    problem = _problem(result.problem)
    if problem is not None:
        task.problem = problem
    elif gone:
        raise DataError(gone)
    else:
        task.load()  # a result of an earlier version
    return task, gone


def _without_folders(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's node whose data are not there as one that is built all the same."""
    found: dict[str, Any] = {
        key: _without_folders(value) if isinstance(value, Mapping) else value
        for key, value in node.items()
    }
    folder = found.get("data_dir")
    if folder is not None and not os.path.isdir(folder):
        found["data_dir"] = "."  # nothing is read from it
    return found


def _problem(told: dict[str, Any]) -> Problem | None:
    """Return the problem that a result tells; None for a result of an earlier version."""
    return Problem(**{**told, "labels": tuple(told["labels"])}) if told else None
