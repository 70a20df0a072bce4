"""What the loggers are given, read back from their own files."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_lab.results import Result
from distill_lab.store import digest
from tests.wandb_file import offline_runs

Go = Callable[..., Result]


def test_wandb_gets_config_curves_and_summary(
    lab: Go, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = lab("logger=wandb", "study=mine", "objective.temperature=2")
    (run,) = offline_runs(tmp_path / "run")
    assert run["group"] == "mine" and run["job_type"] == "train" and run["exit"] == 0
    assert run["name"] == "reviews-Layers-Hinton-T2-lam0.5-seed1"
    assert run["config"]["objective"]["temperature"] == 2
    assert run["config"]["task"]["train_file"].endswith("reviews.csv")
    logged = {key for row in run["history"] for key in row}
    for name in ("loss", "hard", "soft", "hard_weighted", "soft_weighted", "temperature", "lam"):
        assert f"train/{name}" in logged
    assert {"train/agreement", "selection/accuracy", "selection/f1_macro"} <= logged
    steps = [row["trainer/global_step"] for row in run["history"] if "train/loss" in row]
    assert steps == sorted(set(steps)) and len(steps) == len(_steps(tmp_path / "run"))
    for model, metrics in result.metrics.items():
        for name, value in metrics.items():
            assert run["summary"][f"evaluation/{model}/{name}"] == pytest.approx(value)
    assert run["summary"]["evaluation/gain"] == pytest.approx(result.gain)
    assert "comparison/artifact_path" in logged
    assert "has no effect" not in capfd.readouterr().err


def _steps(folder: Path) -> list[str]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    return [line for line in lines[1:] if line.split(",")[column]]


def test_a_failed_run_is_marked_as_failed(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("distill_lab.run.train_baseline", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        lab("logger=wandb")
    (run,) = offline_runs(tmp_path / "run")
    assert run["exit"] == 1
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_run_that_was_ended_goes_on_as_the_same_one(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("distill_lab.run.train_baseline", end)
        with pytest.raises(KeyboardInterrupt):
            lab("logger=wandb")
    lab("logger=wandb")
    lab("logger=wandb", "seed=2")  # another run in the same folder
    # offline-run-TIME-ID, and -1 after it where two begin in the same second.
    ids = [found.name.split("-")[3] for found in (tmp_path / "run").glob("wandb/offline-run-*")]
    assert sorted(Counter(ids).values()) == [1, 2]


def test_runs_of_one_process_do_not_mix(lab: Go, tmp_path: Path) -> None:
    lab("logger=wandb", "seed=1", out="one")
    lab("logger=wandb", "seed=2", out="two")
    (one,), (two,) = offline_runs(tmp_path / "one"), offline_runs(tmp_path / "two")
    assert one["id"] != two["id"]
    assert (one["config"]["seed"], two["config"]["seed"]) == (1, 2)


def artifacts(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Teacher and student of a run, as W&B's file has them."""
    (run,) = offline_runs(folder)
    models = [each for each in run["artifacts"] if each["type"] == "model"]
    teacher, student = sorted(models, key=lambda each: not each["input"])
    assert teacher["input"] and not student["input"]
    return teacher, student


def test_wandb_gets_the_student_and_whom_it_comes_from(lab: Go, tmp_path: Path) -> None:
    result = lab("logger=wandb", "study=mine/b", "trainer.max_steps=2")
    teacher, student = artifacts(tmp_path / "run")
    assert teacher["name"] == f"teacher-{result.fingerprints['teacher']}"
    assert teacher["metadata"]["metrics"] == result.metrics["teacher"]
    assert list(teacher["files"]) == ["teacher.json"]
    assert student["name"] == "student-mine-b"
    assert set(student["aliases"]) == {"latest", "reviews-Layers-Hinton-T4-lam0.5-seed1"}
    about = student["metadata"]
    assert about["metrics"] == result.metrics and about["cost"] == result.cost["student"]
    assert about["fingerprints"] == result.fingerprints and about["task"] == "reviews"
    assert about["config"] == digest(result.config)
    weights = tmp_path / "run" / "student" / "model.safetensors"
    assert student["files"]["model.safetensors"] == weights.as_uri()
    assert not any("staging" in place for place in student["files"].values())


def test_wandb_uploads_the_students_files_where_it_is_asked_to(lab: Go, tmp_path: Path) -> None:
    lab("logger=wandb", "logger.wandb.log_model=true", "trainer.max_steps=2")
    _, student = artifacts(tmp_path / "run")
    folder = tmp_path / "run" / "student"
    here = {path.name: str(path) for path in folder.iterdir()}
    assert student["files"] == here and "model.safetensors" in here
    assert student["metadata"]["uploaded"] is True


def test_a_run_does_not_fail_for_an_artifact(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("the quota is used up\nand more")

    monkeypatch.setattr(wandb.Artifact, "add_reference", refuse)
    result = lab("logger=wandb", "trainer.max_steps=2")
    assert Result.read(tmp_path / "run" / "result.json").metrics == result.metrics
    assert "the student could not be logged (the quota is used up)" in caplog.text
    (run,) = offline_runs(tmp_path / "run")
    assert run["exit"] == 0


def test_no_secret_is_written(lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "0123456789abcdef0123456789abcdef01234567")
    lab("logger=wandb", "trainer.max_steps=2")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if b"0123456789abcdef01234" in path.read_bytes()]


def test_tensorboard(lab: Go, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = lab("logger=tensorboard")
    (folder,) = {file.parent for file in (tmp_path / "run").rglob("events.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/soft", "train/hard_weighted", "selection/accuracy"} <= set(tags)
    last = events.Scalars("evaluation/student/accuracy")[-1]
    assert last.value == pytest.approx(result.metrics["student"]["accuracy"])
    assert (tmp_path / "run" / "metrics.csv").is_file()


def test_csv_holds_the_final_comparison(lab: Go, tmp_path: Path) -> None:
    lab()
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"evaluation/student/accuracy", "evaluation/retention", "selection/accuracy"} <= set(
        header
    )


def test_the_core_does_not_import_wandb() -> None:
    code = "import sys, distill_lab.run; print('wandb' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip().endswith("False")
