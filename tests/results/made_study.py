"""Study folders with made-up numbers, as runs leave them, in no time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distill_lab.results import Result

TEACHER, LABELS = 0.9, ("no", "yes", "unsure")


def make_study(
    folder: Path,
    temperatures: Sequence[float] = (1.0, 4.0),
    lams: Sequence[float] = (0.5, 0.9),
    seeds: Sequence[int] = (1, 2),
    rows: int = 120,
    steps: int = 40,
    labels: Sequence[str] = LABELS,
    bench: bool | Sequence[dict[str, Any]] = False,
    **more: Any,
) -> Path:
    """Write a study with a run for each temperature, lam and seed; return its folder.

    Args:
        folder: Where it is made.
        temperatures: Values of `objective.temperature`.
        lams: Values of `objective.lam`.
        seeds: Seeds.
        rows: Of the evaluation split.
        steps: Lines of each `metrics.csv`.
        labels: Names of the classes.
        bench: What was measured of serving, see `entry`; True for all three models.
        more: Fields of the results with other values.
    """
    for seed in seeds:
        truth, teacher, baseline = _answers(seed, rows, len(labels))
        for temperature in temperatures:
            for lam in lams:
                name = f"objective.temperature={temperature},objective.lam={lam},seed={seed}"
                random = np.random.default_rng([seed, int(100 * temperature), int(100 * lam)])
                skill = 1.6 + 0.1 * temperature * lam
                student = _logits(random, truth, len(labels), skill)
                logits = {"teacher": teacher, "student": student, "baseline": baseline}
                run = _result(seed, temperature, lam, truth, logits, labels, bench)
                write_run(folder / name, _changed(run, more), truth, logits, steps)
    return folder


def write_run(
    folder: Path, run: Result, truth: Any, logits: dict[str, Any], steps: int = 40
) -> None:
    """Write the folder of one run."""
    folder.mkdir(parents=True)
    run.write(folder)
    (folder / "config.yaml").write_text(json.dumps(run.config), encoding="utf-8")
    (folder / ".hydra").mkdir()
    table: dict[str, Any] = {"split": "evaluation", "id": np.arange(len(truth)), "label": truth}
    for name, values in logits.items():
        table[name] = values.argmax(axis=1)
        table[f"{name}_logits"] = list(values.astype(np.float32))
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    at = np.arange(1, steps + 1)
    curves = pd.DataFrame({
        "epoch": at // 10, "step": 10 * at - 1, "train/loss": 2 / at, "train/soft": 1 / at,
        "train/soft_weighted": 4 / at, "train/lam": 0.5, "train/agreement": 1 - 1 / (at + 1),
        f"selection/{run.metric}": np.where(at % 10 == 0, 0.9 - 1 / (at + 3), np.nan),
    })  # fmt: skip
    curves.to_csv(folder / "metrics.csv", index=False)


def entry(model: str, form: str = "eager", **more: Any) -> dict[str, Any]:
    """Return what `distill-lab bench` leaves of one model, as far as the report reads it."""
    speed = {"teacher": 10.0, "student": 4.0, "baseline": 4.0}[model]
    measured = {
        "model": model, "form": form, "device": "cpu",
        "machine": {"name": "a processor", "threads": 2},
        "rows": {"name": "sst2", "fingerprint": "r1", "median_length": 24},
        "latency_p50_ms": speed, "latency_p95_ms": 2 * speed, "examples_per_second": 1000 / speed,
        "size_mb": 40 * speed, "parameters": 1000, "flops": None, "peak_memory_mb": None,
        "energy_j": None,
    }  # fmt: skip
    return measured | more


def _changed(run: Result, more: dict[str, Any]) -> Result:
    content = {**asdict(run), **more}
    del content["folder"]
    return Result(**content)


def _answers(seed: int, rows: int, classes: int) -> tuple[Any, Any, Any]:
    fixed = np.random.default_rng(0)
    truth = fixed.integers(classes, size=rows)
    teacher = _logits(fixed, truth, classes, 3.5)
    return truth, teacher, _logits(np.random.default_rng([seed, 7]), truth, classes, 1.6)


def _logits(random: np.random.Generator, truth: Any, classes: int, skill: float) -> Any:
    found = random.normal(size=(len(truth), classes))
    found[np.arange(len(truth)), truth] += skill
    return found.astype(np.float32)


def _result(
    seed: int, temperature: float, lam: float, truth: Any, logits: dict[str, Any],
    labels: Sequence[str], bench: bool | Sequence[dict[str, Any]],
) -> Result:  # fmt: skip
    accuracy = {name: float((z.argmax(axis=1) == truth).mean()) for name, z in logits.items()}
    sizes = {"teacher": 110_000_000, "student": 66_000_000, "baseline": 66_000_000}
    typed = [f"objective.temperature={temperature}", f"objective.lam={lam}", f"seed={seed}"]
    return Result(
        study="made",
        choices={"task": "glue/sst2", "student": "layers_6", "objective": "hinton",
                 "teacher_name": "bert-base"},
        overrides=["task=glue/sst2", "study='it''s made'", *typed],
        seed=seed, task="sst2", metric="accuracy",
        metrics={name: {"accuracy": value} for name, value in accuracy.items()},
        cost={name: {"parameters": sizes[name], "seconds": 30.0 + seed,
                     "selection": accuracy[name] - 0.01} for name in sizes},
        rows={"train": 1000, "selection": 100, "evaluation": len(truth)},
        fingerprints={"evaluation": "e", "tokenizer": "t", "teacher": "x", "baseline": f"b{seed}",
                      "student": f"s{seed}{temperature}{lam}"},
        config={"seed": seed, "objective": {"temperature": temperature, "lam": lam}},
        versions={"distill-lab": "0.1.0"}, git="",
        problem={"kind": "classification", "labels": list(labels), "words": 0, "reads": "text"},
        bench=[entry(model) for model in sizes] if bench is True else list(bench or ()),
    )  # fmt: skip
