"""What tasks share whose rows have one label each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill_lab.tasks.base import Task
from distill_lab.tasks.metrics import chance, compute, predictions
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import Ids


class ClassTask(Task):
    """Classification or regression: one answer for each row."""

    def score(self, answers: Tensor, rows: ModelRows, at: Ids | None = None) -> dict[str, float]:
        """Compute the metrics; answers are logits `[rows, labels]`."""
        labels = rows.labels if at is None else rows.labels[at]
        return compute(self.metrics, self.problem, answers, torch.from_numpy(labels))

    def chance(self, train: ModelRows, rows: ModelRows) -> float:
        """Return the main metric of the most frequent training label."""
        labels = (torch.from_numpy(part.labels) for part in (train, rows))
        return chance(self.metrics[0], self.problem, *labels)

    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return `id` (stable row id), `label`, and for each model its answer and its logits."""
        found: dict[str, Any] = {"id": rows.ids, "label": rows.labels}
        for name, logits in answers.items():
            found[name] = predictions(logits, self.problem).numpy()
            found[f"{name}_logits"] = list(logits.to(torch.float32).numpy())
        return found
