"""Classification or regression on a user's own files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from distill_lab.errors import ConfigError, DataError
from distill_lab.tasks.augment import Augment
from distill_lab.tasks.columns import Columns, to_rows
from distill_lab.tasks.files import read_table
from distill_lab.tasks.metrics import fit_problem
from distill_lab.tasks.rows import Part, Rows, carve
from distill_lab.tasks.text import TextTask
from distill_lab.types import Problem


class TextFiles(TextTask):
    """Rows of a CSV, TSV, JSON-lines or parquet file with named columns.

    Args:
        train_file: Training rows.
        text: Column of the (first) text.
        label: Column of the label.
        pair: Column of the second text, for tasks on pairs.
        evaluation_file: Rows that are only reported; None carves `evaluation` from train.
        evaluation: Share of `train_file` that is reported when there is no evaluation file.
        labels: Label names in the order of their ids; None takes those of the training file,
            sorted.
        kind: "classification" or "regression".
        skip_incomplete: Leave out rows without text or label, and say how many.
        name: Short name, for tables; None takes the file's.
        metrics: Names of the metrics, the main one first.
        max_length: Tokens at which rows are cut.
        selection: Share of train that chooses epoch, T and λ.
        selection_max: Upper bound of these rows.
        augment: More rows for the transfer set.

    Raises:
        ConfigError: If the values do not fit together.
    """

    def __init__(
        self,
        *,
        train_file: str,
        text: str,
        label: str,
        metrics: Sequence[str],
        pair: str | None = None,
        evaluation_file: str | None = None,
        evaluation: float = 0.2,
        labels: Sequence[str] | None = None,
        kind: Literal["classification", "regression"] = "classification",
        skip_incomplete: bool = False,
        name: str | None = None,
        max_length: int = 128,
        selection: float = 0.1,
        selection_max: int = 2000,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(
            name=name or Path(train_file).stem,
            metrics=metrics,
            max_length=max_length,
            selection=selection,
            selection_max=selection_max,
            augment=augment,
        )
        if not 0 < evaluation < 1:
            raise ConfigError(f"task.evaluation={evaluation}: a share, between 0 and 1")
        self.columns = Columns(text=text, label=label, pair=pair)
        self.train_file = Path(train_file)
        self.evaluation_file = None if evaluation_file is None else Path(evaluation_file)
        self.evaluation = evaluation
        self.labels = labels
        self.kind = kind
        self.skip_incomplete = skip_incomplete

    def read(self) -> tuple[Rows, Mapping[str, Part]]:
        """Read the files; without an evaluation file, carve one from train.

        Raises:
            DataError: If a file cannot be used.
        """
        self._check_files()
        table = self._table(self.train_file)
        self.columns.check(table, self.train_file)
        self.problem = self._problem(table)
        fit_problem(self.metrics, self.problem)
        rows = to_rows(table, self.train_file, self.columns, self.problem)
        if self.evaluation_file is None:
            train, evaluation = carve(rows, self.evaluation)
        else:
            table = self._table(self.evaluation_file)
            evaluation = to_rows(table, self.evaluation_file, self.columns, self.problem)
            train = rows
        return train, {"evaluation": evaluation}

    def _check_files(self) -> None:
        named = {"train_file": self.train_file, "evaluation_file": self.evaluation_file}
        absent = [
            f"task.{key}={path}: there is no such file"
            for key, path in named.items()
            if path is not None and not os.path.isfile(path)  # false for what no file can be named
        ]
        if absent:
            raise DataError("\n".join(absent))

    def _table(self, path: Path) -> pd.DataFrame:
        table = read_table(path)
        return self.columns.drop_incomplete(table, path) if self.skip_incomplete else table

    def _problem(self, table: pd.DataFrame) -> Problem:
        if self.kind == "regression":
            return Problem("regression", ("score",))
        if self.labels is not None:
            return Problem("classification", tuple(str(label) for label in self.labels))
        values = list(table[self.columns.label])
        names = sorted({str(value) for value in values}, key=_numbers_first)
        if len(names) > max(2, len(values) // 2):
            raise DataError(
                f"task.label={self.columns.label}: {len(names)} different values in"
                f" {len(values)} rows are not classes; for numbers use task.kind=regression"
            )
        return Problem("classification", tuple(names))


def _numbers_first(name: str) -> tuple[bool, int, str]:
    digits = name.isdecimal()
    return (not digits, int(name) if digits else 0, name)
