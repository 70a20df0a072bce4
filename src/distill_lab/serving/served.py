"""A finished run's student, or what was exported of it, opened to be asked or measured."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.config import Config
from distill_lab.errors import DataError, ModelError
from distill_lab.models import agree_on_padding, load_config, load_model, load_tokenizer
from distill_lab.results.result import Result
from distill_lab.results.run_folder import ORIGIN, is_exported, read_run
from distill_lab.serving.onnx_model import FILE as GRAPH
from distill_lab.serving.onnx_network import OnnxNetwork
from distill_lab.serving.origin import config_of, read_config, task_of, teacher_folder
from distill_lab.store import Store
from distill_lab.students.int8 import MARK, to_int8
from distill_lab.tasks import Data, Task
from distill_lab.types import Problem


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

        That is `model`; where the student was trained for int8, a copy that rounds as int8 will.
        What has been exported computes what it is.
        """
        return (
            self.model
            if is_exported(self.folder) or self.int8 is None
            else to_int8(copy.deepcopy(self.model))
        )

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
    if is_exported(folder):
        return _exported(folder)
    result = read_run(folder)
    config = read_config(folder)
    task, gone = task_of(config, result)
    where = str(folder / "student") if model == "student" else teacher_folder(result, config)
    return _opened(folder, where, model, result, config, task, gone)


def _exported(folder: Path) -> Served:
    result = Result.read(folder / ORIGIN)
    config = config_of(result.config, folder / ORIGIN)
    task, gone = task_of(config, result)
    if not (folder / GRAPH).is_file():
        _check_torchao(folder)
        return _opened(folder, str(folder), "student", result, config, task, gone)
    tokenizer = _tokenizer(str(folder), "student", task)
    network = OnnxNetwork(folder, load_config(str(folder), "student"))
    network.eval()
    served = cast(PreTrainedModel, network)  # what tasks ask of a model, it answers
    return Served(folder, result, config, task, served, tokenizer, gone)


def _check_torchao(folder: Path) -> None:
    """Refuse an int8 folder where torchao, which reads it, is not installed.

    Raises:
        ModelError: If so.
    """
    settings = (folder / "config.json").read_text(encoding="utf-8")
    if '"quant_method": "torchao"' in settings and find_spec("torchao") is None:
        raise ModelError(
            f"{folder}: torchao is not installed; type: pip install 'distill-lab[int8]'"
        )


def _opened(
    folder: Path, where: str, key: str, result: Result, config: Config, task: Task, gone: str
) -> Served:
    tokenizer = _tokenizer(where, key, task)
    model = load_model(where, task.problem, key, whole=True).eval()
    agree_on_padding(model, tokenizer)
    return Served(folder, result, config, task, model, tokenizer, gone)


def _tokenizer(where: str, key: str, task: Task) -> PreTrainedTokenizerBase | None:
    return load_tokenizer(where, key) if task.problem.reads == "text" else None


def with_problem(served: Served) -> Result:
    """Return the run's result with its problem, which results of earlier versions lack."""
    return replace(served.result, problem=asdict(served.problem))
