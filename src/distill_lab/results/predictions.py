"""Answers row by row: `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError

if TYPE_CHECKING:  # they need torch, which a comparison does not
    from distill_lab.scores import Trained
    from distill_lab.tasks import Data, Task

PREDICTIONS = "predictions.parquet"
MODELS = ("teacher", "student", "baseline")
_NEEDED = ("split", "id")
Values = npt.NDArray[Any]


def write_predictions(path: Path, task: Task, data: Data, models: Mapping[str, Trained]) -> None:
    """Write one line for each thing that is asked of a model.

    Columns: `split`, and those of the task (see `Task.table`): `id`, the label, and each model's
    answer under its name.

    Args:
        path: The parquet file.
        task: Says what answers are.
        data: Rows in the order of the answers.
        models: Teacher, student and baseline by name.
    """
    import pandas as pd

    parts = []
    for split, rows in data.evaluation.items():
        given = {name: model.scores.answers[split] for name, model in models.items()}
        table = task.table(rows, given)
        if data.for_teacher is not None and "teacher" in given:  # whose tokens are others
            read = data.for_teacher.evaluation[split]
            table |= task.table(read, {"teacher": given["teacher"]})
        parts.append(pd.DataFrame({"split": split, **table}))
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pd.concat(parts, ignore_index=True).to_parquet(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Predictions:
    """A run's answers row by row; a column is read when it is asked for.

    Attributes:
        file: The parquet file.
        names: Its columns.
        rows: Number of lines, of all evaluation sets together.
    """

    file: Path
    names: tuple[str, ...]
    rows: int

    @property
    def models(self) -> tuple[str, ...]:
        """Which of teacher, student and baseline have any column."""
        return tuple(
            model
            for model in MODELS
            if any(name == model or name.startswith(f"{model}_") for name in self.names)
        )

    def columns(self, names: Sequence[str]) -> dict[str, Values]:
        """Return columns as arrays `[rows]`; one of lists, such as logits, as objects.

        Raises:
            DataError: If one is missing or the file is damaged.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DataError(
                f"{self.file}: it has no column {missing[0]}; an earlier version wrote it, train"
                " the run again"
            )
        table = _opened(self.file).read(columns=list(names))
        return {name: table.column(name).to_numpy() for name in names}

    def logits(self, model: str) -> npt.NDArray[np.float32] | None:
        """Return a model's logits `[rows, labels]`; None where the task keeps none.

        Raises:
            DataError: If the file is damaged or rows have different numbers of logits.
        """
        name = f"{model}_logits"
        if name not in self.names:
            return None
        column = _opened(self.file).read(columns=[name]).column(name).combine_chunks()
        flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
        if not self.rows or len(flat) % self.rows:
            raise DataError(f"{self.file}: the rows of {name} have different lengths")
        return flat.reshape(self.rows, -1)


def read_predictions(folder: Path) -> Predictions:
    """Open the predictions of a run.

    Args:
        folder: The run's.

    Raises:
        DataError: If there are none, or the file is none of ours; names the file.
    """
    file = folder / PREDICTIONS
    if not file.is_file():
        raise DataError(f"{file}: it is not there")
    opened = _opened(file)
    names = tuple(opened.schema_arrow.names)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise DataError(f"{file}: not the predictions of a run (it has no column {missing[0]})")
    return Predictions(file, names, opened.metadata.num_rows)


def _opened(file: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: not a parquet file ({reason})") from error
