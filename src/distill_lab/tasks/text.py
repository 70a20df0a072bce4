"""Classification and regression of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from distill_lab.errors import DataError
from distill_lab.tasks.augment import Augment
from distill_lab.tasks.classes import ClassTask
from distill_lab.tasks.metrics import METRICS
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import Rows, Splits


class TextTask(ClassTask):
    """Classification or regression of texts or pairs of texts.

    Args:
        name: Short name, for tables.
        metrics: Names of the metrics (see `tasks.metrics`), the main one first.
        max_length: Tokens at which rows are cut.
        selection: Share of the training rows that is held back to choose epoch, T and λ.
        selection_max: Upper bound of the rows held back.
        augment: More rows for the transfer set.

    Raises:
        ConfigError: If a metric is unknown or a number is out of its range.
    """

    def __init__(
        self,
        *,
        name: str,
        metrics: Sequence[str],
        max_length: int = 128,
        selection: float = 0.1,
        selection_max: int = 2000,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(
            name=name,
            metrics=metrics,
            known=METRICS,
            max_length=max_length,
            selection=selection,
            selection_max=selection_max,
        )
        self.augment = augment or Augment()
        self.unlabelled = self.augment.wanted

    def load(self) -> Splits:
        """Read the rows and carve the selection split from train.

        Raises:
            DataError: If a file cannot be used as it is, or all rows have one label.
        """
        splits = super().load()
        assert isinstance(splits.train, Rows) and isinstance(splits.selection, Rows)
        labels = {*splits.train.labels.tolist(), *splits.selection.labels.tolist()}
        if self.problem.kind == "classification" and len(labels) < 2:
            only = self.problem.labels[int(next(iter(labels)))]
            raise DataError(
                f"task {self.name}: all training rows have the label {only!r}; nothing to learn"
            )
        return splits

    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return what `ClassTask.table` does, and `length`, the tokens of each row."""
        return {**super().table(rows, answers), "length": rows.lengths}
