"""What the runs of one comparison were asked: the same rows, read once, and each run's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import DataError
from distill_lab.results.metrics import Columns, base_and_set, of_model, of_rows, scored
from distill_lab.results.predictions import read_predictions
from distill_lab.results.rowwise import Scored


class Asked:
    """The rows that runs were asked, taken from the first that is read; others are held to them."""

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}  # what was asked, as arrow columns
        self._numbers: dict[str, npt.NDArray[Any]] = {}
        self._sets: dict[str, npt.NDArray[np.bool_]] = {}

    def answers(self, folder: Path, models: Sequence[str]) -> Answers:
        """Read a run's answers.

        Args:
            folder: The run's.
            models: Whose columns are read.

        Raises:
            DataError: If the file is missing or damaged, or of other rows than the first run's.
        """
        file = read_predictions(folder)
        about = ["split", "id", *(n for n in of_rows(file.names) if n in file.numbers)]
        own = [n for model in models for n in of_model(model, file.names) if n in file.numbers]
        table = file.table([*about, *own])
        rows = {name: table.column(name) for name in about}
        if not self._rows:
            self._begin(rows)
        elif rows.keys() != self._rows.keys() or any(
            not column.equals(self._rows[name]) for name, column in rows.items()
        ):
            raise DataError(f"{file.file}: its rows are not those of the other runs")
        return Answers(self, {name: table.column(name).to_numpy() for name in own})

    def _begin(self, rows: dict[str, Any]) -> None:
        self._rows = rows
        split = np.asarray(rows["split"].to_pylist(), dtype=str)
        self._sets = {str(name): split == name for name in np.unique(split)}
        self._numbers = {n: rows[n].to_numpy() for n in rows if n not in ("split", "id")}

    def sets(self) -> list[str]:
        """Return the names of the evaluation sets."""
        return list(self._sets)

    def size(self, split: str) -> int:
        """Return the number of rows of an evaluation set."""
        return int(self._sets[split].sum())

    def of_set(self, columns: Columns, split: str) -> Columns:
        """Return columns, and what was asked, for the rows of an evaluation set."""
        both = {**self._numbers, **columns}
        if len(self._sets) == 1:
            return both
        return {name: values[self._sets[split]] for name, values in both.items()}


class Answers:
    """One run's answers.

    Args:
        asked: What to.
        columns: Of its models.
    """

    def __init__(self, asked: Asked, columns: Columns) -> None:
        self.asked = asked
        self.columns = columns

    def scored(self, metric: str, model: str) -> Scored:
        """Return a model's answers under a metric.

        Raises:
            NotThere: If the file does not tell it.
        """
        base, split = base_and_set(metric, self.asked.sets())
        return scored(base, model, self.asked.of_set(self.columns, split))

    def set_of(self, metric: str) -> str:
        """Return the evaluation set that a metric is of."""
        return base_and_set(metric, self.asked.sets())[1]
