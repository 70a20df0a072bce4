"""Answers row by row: `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from distill_lab.tasks import Data
from distill_lab.tasks.metrics import predictions
from distill_lab.types import Problem, Trained


def write_predictions(
    path: Path, problem: Problem, data: Data, models: Mapping[str, Trained]
) -> None:
    """Write one row for each evaluation row.

    Columns: `split`, `id` (stable row id), `label`, and for each model its answer (label id or
    number) and `<model>_logits`.

    Args:
        path: The parquet file.
        problem: Says how logits become answers.
        data: Rows in the order of the logits.
        models: Teacher, student and baseline by name.
    """
    parts = []
    for split, rows in data.evaluation.items():
        table = {"split": split, "id": rows.ids, "label": rows.labels}
        for name, model in models.items():
            logits = model.scores.logits[split]
            table[name] = predictions(logits, problem).numpy()
            table[f"{name}_logits"] = list(logits.to(torch.float32).numpy())
        parts.append(pd.DataFrame(table))
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pd.concat(parts, ignore_index=True).to_parquet(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
