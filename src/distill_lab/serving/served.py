"""A finished run's student, opened to be asked, exported or measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.config import Config, Launch, build, check
from distill_lab.errors import DataError
from distill_lab.models import agree_on_padding, load_model, load_tokenizer
from distill_lab.results.result import FILE, FINISHED, Result
from distill_lab.store import Store
from distill_lab.students.int8 import MARK, to_int8
from distill_lab.tasks import Data, Task
from distill_lab.types import Problem


@dataclass(frozen=True)
class Served:
    """A student with what it was trained for.

    Attributes:
        folder: The run's.
        result: What the run left.
        config: How it was configured.
        task: Knows how rows are read and scored; its `problem` is settled.
        model: In evaluation mode, float32, on the CPU; its float weights also where it was trained
            for int8, see `as_scored`.
        tokenizer: The student's; None where rows are no text.
    """

    folder: Path
    result: Result
    config: Config
    task: Task
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None

    @property
    def problem(self) -> Problem:
        """What it answers."""
        return self.task.problem

    @property
    def int8(self) -> dict[str, Any] | None:
        """For which int8 the student was trained, see `students.int8.told`; None if for none.

        An exporter to int8 keeps exactly that.
        """
        return getattr(self.model.config, MARK, None)

    def as_scored(self) -> PreTrainedModel:
        """Return the model that computes what the run's scores and predictions are of.

        That is `model`; where the student was trained for int8, a copy that rounds as int8 will.
        """
        return self.model if self.int8 is None else to_int8(copy.deepcopy(self.model))

    def data(self) -> Data:
        """Return the task's rows as the student reads them.

        Raises:
            UsageError: If the files are not there any more, or cannot be used.
        """
        splits = self.task.load()
        return self.task.encode(splits, self.tokenizer, Store(self.config.store_dir))


def open_run(folder: Path) -> Served:
    """Open the student of a finished run.

    No rows are read: what the model answers stands in the result.

    Args:
        folder: The run's, with `result.json`, `config.yaml` and `student/`.

    Raises:
        UsageError: If it is no folder of a finished run, or its student cannot be loaded.
    """
    result = read_run(folder)
    config = read_config(folder)
    check(config)
    task: Task = build(config.task)
    problem = _problem(result.problem)
    if problem is None:
        task.load()
    else:
        task.problem = problem
    student = str(folder / "student")
    text = task.problem.reads == "text"
    tokenizer = load_tokenizer(student, "student") if text else None
    model = load_model(student, task.problem, "student", whole=True).eval()
    agree_on_padding(model, tokenizer)
    return Served(folder, result, config, task, model, tokenizer)


def read_run(folder: Path) -> Result:
    """Return the result of a finished run that has kept its student.

    Raises:
        DataError: If it is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run")
    if not (folder / FILE).is_file():
        raise DataError(f"{folder}: not the folder of a finished run (it has no {FILE})")
    result = Result.read(folder / FILE)
    if result.status != FINISHED:
        raise DataError(f"{folder}: the run was {result.status}; it has no student")
    if not (folder / "student" / "config.json").is_file():
        raise DataError(f"{folder}: the run has no student/ folder; train it again")
    return result


def read_config(folder: Path) -> Config:
    """Return the configuration of a run.

    Raises:
        DataError: If the file is missing or is none.
    """
    file = folder / "config.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Config(**{**content, "launch": Launch(**content.get("launch", {}))})
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: not the configuration of a run ({reason})") from error


def _problem(told: dict[str, Any]) -> Problem | None:
    """Return the problem that a result tells; None for a result of an earlier version."""
    return Problem(**{**told, "labels": tuple(told["labels"])}) if told else None
