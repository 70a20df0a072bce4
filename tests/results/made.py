"""Run folders as `train` leaves them, made from answers without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill_lab.results.result import Result

LABELS = np.random.default_rng(0).integers(2, size=400)


def answers(accuracy: float, seed: int, labels: np.ndarray = LABELS) -> np.ndarray:
    """Classes, right in about this share of the rows."""
    right = np.random.default_rng(seed).random(len(labels)) < accuracy
    return np.where(right, labels, 1 - labels)


def made(
    folder: Path, models: Mapping[str, np.ndarray], *, seed: int = 1, temperature: float = 1.0,
    labels: np.ndarray = LABELS, **other: Any,
) -> Result:  # fmt: skip
    """Write a run; `other` replaces fields of its result."""
    table: dict[str, Any] = {"split": "evaluation", "id": np.arange(len(labels)), "label": labels}
    for name, own in models.items():
        table |= {name: own, f"{name}_logits": list(np.eye(2, dtype=np.float32)[own] * 2)}
    folder.mkdir(parents=True)
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    (folder / "config.yaml").write_text("study: s\n", encoding="utf-8")
    fields: dict[str, Any] = {
        "versions": {},
        "git": "",  # asking takes a process
        "study": "s",
        "choices": {"task": "sst2", "student": "layers_6", "teacher_name": "bert"},
        "overrides": [],
        "seed": seed,
        "task": "sst2",
        "metric": "accuracy",
        "metrics": {name: {"accuracy": float((a == labels).mean())} for name, a in models.items()},
        "cost": {name: {"parameters": 1000, "selection": 0.8} for name in models},
        "rows": {"train": 10, "selection": 50, "evaluation": len(labels)},
        "fingerprints": {
            "evaluation": "e", "tokenizer": "t", "teacher": "x", "baseline": f"b{seed}",
        },
        "config": {"seed": seed, "objective": {"temperature": temperature, "lam": 0.5}},
    }  # fmt: skip
    result = Result(**{**fields, **other})
    result.write(folder)
    return result


def three(seed: int, student: float, baseline: float = 0.7) -> dict[str, np.ndarray]:
    """Answers of teacher, student and baseline; one teacher, a baseline for each seed."""
    return {
        "teacher": answers(0.9, 0),
        "student": answers(student, 1000 + seed),
        "baseline": answers(baseline, 2000 + seed),
    }
