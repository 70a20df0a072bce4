"""A finished run's student, or what was exported of it, opened to be asked or measured."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.config import Config, Launch, build
from distill_lab.errors import ConfigError, DataError, ModelError
from distill_lab.models import (
    agree_on_padding,
    load_config,
    load_model,
    load_tokenizer,
    weights_fingerprint,
)
from distill_lab.results.result import FILE, FINISHED, Result
from distill_lab.serving.onnx_model import FILE as GRAPH
from distill_lab.serving.onnx_network import OnnxNetwork
from distill_lab.signatures import faults_of
from distill_lab.store import Store
from distill_lab.students.int8 import MARK, to_int8
from distill_lab.tasks import Data, Task
from distill_lab.types import Problem

ORIGIN = "run.json"
"""In an exported folder, the result of the run that it comes from."""


@dataclass(frozen=True)
class Served:
    """A student with what it was trained for.

    Attributes:
        folder: The run's, or the exported one.
        result: What the run left.
        config: How it was configured.
        task: Knows how rows are read and scored; its `problem` is settled.
        model: In evaluation mode, float32 or as it was exported, on the CPU; its float weights also
            where it was trained for int8, see `as_scored`.
        tokenizer: The student's; None where rows are no text.
        gone: Why the task's rows cannot be read; empty where they may be.
    """

    folder: Path
    result: Result
    config: Config
    task: Task
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    gone: str = ""

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

        That is `model`; where the student was trained for int8, a copy that rounds as int8 will. An
        exported model is what it is.
        """
        if self.int8 is None or not (self.folder / "student").is_dir():
            return self.model
        return to_int8(copy.deepcopy(self.model))

    def data(self) -> Data:
        """Return the task's rows as the student reads them.

        Raises:
            UsageError: If the files are not there any more, or cannot be used.
        """
        with self.rows() as data:
            return data

    @contextmanager
    def rows(self) -> Iterator[Data]:
        """Give the task's rows as the student reads them; corpora lie on the disk meanwhile.

        Where the run's store is gone, none is left behind.

        Raises:
            UsageError: If the files are not there any more, or cannot be used.
        """
        if self.gone:
            raise DataError(self.gone)
        splits, known = self.task.load(), Path(self.config.store_dir)
        if known.is_dir():
            yield self.task.encode(splits, self.tokenizer, Store(known))
            return
        with tempfile.TemporaryDirectory(prefix="distill-lab-") as folder:
            yield self.task.encode(splits, self.tokenizer, Store(folder))


def open_run(folder: Path, model: Literal["student", "teacher"] = "student") -> Served:
    """Open the student of a finished run, or what was exported of it.

    No rows are read: what the model answers stands in the result.

    Args:
        folder: The run's, with `result.json`, `config.yaml` and `student/`; or an exported one.
        model: "teacher" for the run's teacher, where the store still has it.

    Raises:
        UsageError: If it is no folder of a finished run, or its student cannot be loaded.
    """
    if (folder / ORIGIN).is_file():
        return _exported(folder)
    result = read_run(folder)
    config = read_config(folder)
    task, gone = _task(config, result)
    where = str(folder / "student") if model == "student" else teacher_folder(result, config)
    return _opened(folder, where, model, result, config, task, gone)


def _exported(folder: Path) -> Served:
    result = Result.read(folder / ORIGIN)
    config = _config(result.config, folder / ORIGIN)
    task, gone = _task(config, result)
    if not (folder / GRAPH).is_file():
        return _opened(folder, str(folder), "student", result, config, task, gone)
    tokenizer = _tokenizer(str(folder), "student", task)
    network = OnnxNetwork(folder, load_config(str(folder), "student"))
    network.eval()
    served = cast(PreTrainedModel, network)  # what tasks ask of a model, it answers
    return Served(folder, result, config, task, served, tokenizer, gone)


def _opened(
    folder: Path, where: str, key: str, result: Result, config: Config, task: Task, gone: str
) -> Served:
    tokenizer = _tokenizer(where, key, task)
    model = load_model(where, task.problem, key, whole=True).eval()
    agree_on_padding(model, tokenizer)
    return Served(folder, result, config, task, model, tokenizer, gone)


def _tokenizer(where: str, key: str, task: Task) -> PreTrainedTokenizerBase | None:
    return load_tokenizer(where, key) if task.problem.reads == "text" else None


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


def read_run(folder: Path) -> Result:
    """Return the result of a finished run that has kept its student.

    Raises:
        DataError: If it is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run")
    if not (folder / FILE).is_file():
        runs = sorted(folder.glob(f"*/{FILE}"))
        hint = f"; its runs are folders below it, such as {runs[0].parent}" if runs else ""
        raise DataError(f"{folder}: not the folder of a finished run (it has no {FILE}){hint}")
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
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _no_config(file, error) from error
    return _config(content, file)


def _config(content: Any, file: Path) -> Config:
    try:
        return Config(**{**content, "launch": Launch(**content.get("launch", {}))})
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_config(file, error) from error


def _no_config(file: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{file}: not the configuration of a run ({reason})")


def _task(config: Config, result: Result) -> tuple[Task, str]:
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
    found = {
        key: _without_folders(value) if isinstance(value, Mapping) else value
        for key, value in node.items()
    }
    folder = found.get("data_dir")
    if folder is not None and not Path(folder).is_dir():
        found["data_dir"] = "."  # nothing is read from it
    return found


def _problem(told: dict[str, Any]) -> Problem | None:
    """Return the problem that a result tells; None for a result of an earlier version."""
    return Problem(**{**told, "labels": tuple(told["labels"])}) if told else None


def with_problem(served: Served) -> Result:
    """Return the run's result with its problem, which results of earlier versions lack."""
    from dataclasses import asdict

    return replace(served.result, problem=asdict(served.problem))
