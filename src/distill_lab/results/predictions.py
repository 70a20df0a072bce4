"""Answers row by row: `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError, first_line

if TYPE_CHECKING:  # they need torch, which a comparison does not
    from distill_lab.scores import Trained
    from distill_lab.tasks import Data, Task

PREDICTIONS = "predictions.parquet"
MODELS = ("teacher", "student", "baseline")
_NEEDED = ("split", "id")
Values = npt.NDArray[Any]


def answer_tables(
    task: Task, data: Data, models: Mapping[str, Trained]
) -> dict[str, dict[str, Any]]:
    """Return the columns of each evaluation set, the main one first, see `Task.table`.

    Args:
        task: Says what answers are.
        data: Rows in the order of the answers.
        models: Teacher, student and baseline by name.
    """
    tables = {}
    for split, rows in data.evaluation.items():
        given = {name: model.scores.answers[split] for name, model in models.items()}
        table = dict(task.table(rows, given))
        if data.for_teacher is not None and "teacher" in given:  # whose tokens are others
            read = data.for_teacher.evaluation[split]
            own = task.table(read, {"teacher": given["teacher"]})
            table |= {name: values for name, values in own.items() if name.startswith("teacher")}
        tables[split] = table
    return tables


def write_predictions(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write one line for each thing that is asked of a model.

    Columns: `split`, and those of the task (see `Task.table`): `id`, the label, and each model's
    answer under its name.

    Args:
        path: The parquet file.
        tables: From `answer_tables`.
    """
    import pandas as pd

    parts = [pd.DataFrame({"split": split, **table}) for split, table in tables.items()]
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
        numbers: Names of the columns that hold numbers, or whether something is so.
        opened: The file, open.
    """

    file: Path
    names: tuple[str, ...]
    rows: int
    numbers: frozenset[str] = frozenset()
    opened: Any = field(default=None, repr=False, compare=False)

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
        table = self.table(names)
        return {name: table.column(name).to_numpy() for name in names}

    def table(self, names: Sequence[str]) -> Any:
        """Return columns as a pyarrow table.

        Raises:
            DataError: If the file is damaged.
        """
        import pyarrow as pa

        try:
            return self.opened.read(columns=list(names), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(_none(self.file, error)) from error

    def logits(self, model: str) -> npt.NDArray[np.float32] | None:
        """Return a model's logits `[rows, labels]`; None where the task keeps none.

        Raises:
            DataError: If the file is damaged or rows have different numbers of logits.
        """
        name = f"{model}_logits"
        if name not in self.names:
            return None
        column = self.table([name]).column(name).combine_chunks()
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
    import pyarrow as pa

    opened = _opened(file)
    schema = opened.schema_arrow
    names = tuple(schema.names)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise DataError(f"{file}: not the predictions of a run (it has no column {missing[0]})")
    kinds = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean
    numbers = frozenset(one.name for one in schema if any(kind(one.type) for kind in kinds))
    return Predictions(file, names, opened.metadata.num_rows, numbers, opened)


def _opened(file: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(_none(file, error)) from error


def _none(file: Path, error: Exception) -> str:
    return f"{file}: not a parquet file ({first_line(error)})"
