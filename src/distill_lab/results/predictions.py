"""Answers row by row: `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from distill_lab.scores import Trained
from distill_lab.tasks import Data, Task


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
