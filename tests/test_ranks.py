"""Processes that train together end as one that accumulates, and share what is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from distill_lab import ranks, sharding
from distill_lab.config import build
from distill_lab.errors import ConfigError
from distill_lab.guards import check_divided
from distill_lab.hydra_entry import compose
from distill_lab.parts import look_at
from distill_lab.results import Result
from tests.conftest import TINY, tiny
from tests.teachers.test_cached import losses
from tests.test_sweep import sweep

STILL = ",".join(
    f"{key}:{value}"
    for key, value in {
        **TINY,
        "num_hidden_layers": 2,
        "hidden_dropout_prob": 0,
        "attention_probs_dropout_prob": 0,
    }.items()
)
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]


def train(folder: Path, *line: str) -> Path:
    place = folder / f"run{len(list(folder.glob('run*')))}"
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line, f"hydra.run.dir={place}"],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return place


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "student" / "model.safetensors")


def still(teacher: Path, rows_file: Path) -> list[str]:
    """Overrides for a student without dropout, of which every process draws its own."""
    others = [o for o in tiny(teacher, rows_file) if not o.startswith("student")]
    return [*others, "student=scratch", f"student.sizes={{{STILL}}}"]


@pytest.mark.slow
def test_two_processes_end_as_one_that_accumulates(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    base = [*still(finetuned, rows_file), "optim.batch_size=8", "teacher.cache=on"]
    alone = train(tmp_path, *base, "trainer.accumulate_grad_batches=2")
    two = train(tmp_path, *base, *TWO)
    live = train(tmp_path, *base, *TWO, "teacher.cache=off")
    expected, found, without = weights(alone), weights(two), weights(live)
    for name, values in expected.items():
        # AdamW divides by the root of a mean square, which makes last bits grow
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(without[name], found[name], rtol=1e-3, atol=1e-4)
    one, both = (Result.read(run / "result.json") for run in (alone, two))
    assert both.cost["student"]["examples"] == one.cost["student"]["examples"]
    assert both.metrics["student"] == pytest.approx(one.metrics["student"], abs=0.02)
    assert both.cost["student"]["selection"] == pytest.approx(
        one.cost["student"]["selection"], abs=0.02
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        ["objective=hidden"],
        ["objective=minilm_v2", "objective.relation_heads=4"],
        ["objective=tinybert"],
    ],
    ids=["hidden", "minilm_v2", "tinybert"],
)
def test_kept_signals_of_every_kind_reach_the_rows_of_each_process(
    objective: list[str], finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [
        *tiny(finetuned, rows_file), *TWO, *objective, "trainer.log_every_n_steps=1",
        "teacher.cache_dtype=float32", "baseline=false",
    ]  # fmt: skip
    kept = losses(train(tmp_path, *line, "teacher.cache=on"))
    live = losses(train(tmp_path, *line, "teacher.cache=off"))
    assert len(kept) > 3
    pd.testing.assert_frame_equal(kept, live, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_largest_logits_reach_the_rows_of_each_process(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [
        *still(finetuned, rows_file), "baseline=false", "teacher.cache=on",
        "teacher.cache_top_k=1", "teacher.cache_temperatures=[2]", "objective.temperature=2",
    ]  # fmt: skip
    two = weights(train(tmp_path, *line, *TWO, "optim.batch_size=8"))
    alone = train(tmp_path, *line, "trainer.accumulate_grad_batches=2", "optim.batch_size=8")
    for name, values in weights(alone).items():
        torch.testing.assert_close(two[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_sweep_gives_both_processes_the_same_values_and_one_folder_a_job(
    encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(encoder, rows_file), *TWO, "study=s", "objective.lam=0,1", "teacher.epochs=1"]
    answer = sweep(tmp_path, *line, "teacher.min_over_chance=-1")
    assert answer.returncode == 0, answer.stderr
    folders = sorted((tmp_path / "runs" / "s").glob("*/"))
    assert [folder.name for folder in folders] == ["objective.lam=0", "objective.lam=1"]
    results = [Result.read(folder / "result.json") for folder in folders]
    assert results[0].metrics["student"] == results[0].metrics["baseline"]
    assert results[1].metrics["student"] != results[0].metrics["student"]
    assert len(list((tmp_path / "store" / "teachers").glob("*/"))) == 1
    assert len(list((tmp_path / "store" / "baselines").glob("*/"))) == 1
    for folder in folders:
        said = (folder / "train.log").read_text()
        assert said.count("student: 2 layers") == 1
        assert len((folder / ".hydra" / "overrides.yaml").read_text().splitlines()) == len(line)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_tells_why(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *TWO, "teacher.min_over_chance=0.9"]
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line, "hydra.run.dir=run"],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "there is nothing to distil" in (tmp_path / "run" / "error.txt").read_text()
    assert "one of 2 processes failed" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_noticed_where_it_is_divided(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "trainer.devices=2", "trainer.strategy=fsdp"]
    typed = [*line, "objective=combine", "objective.weights.hinton=1e38", "hydra.run.dir=run"]
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *typed],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 1 and "Traceback" not in answer.stderr
    told = (tmp_path / "run" / "error.txt").read_text()
    assert told.startswith("step 1: ") and "callbacks.finite.action=skip may help" in told


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trainer.devices=2", "trainer.strategy=ddp_spawn"], "take trainer.strategy=ddp"),
        (["trainer.num_nodes=2", "trainer.devices=1"], "start the processes with torchrun"),
        (["trainer.devices=2", "student.num_layers=9"], "the teacher has 4 layers"),
    ],
)
def test_what_cannot_be_started_is_refused(
    typed: list[str], said: str, finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *tiny(finetuned, rows_file), *typed],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 2 and said in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("typed", "there", "said"),
    [
        (["strategy=fsdp"], "", "trainer.devices=1 is one process, which has nobody to divide"),
        (["strategy=fsdp", "devices=2", "precision=16-mixed"], "", "take trainer.precision=bf16"),
        (["strategy=deepspeed"], "", "deepspeed is not installed; pip install deepspeed, or take"),
        (["strategy=deepspeed"], "package", "on NVIDIA's GPUs alone; take trainer.strategy=fsdp"),
        (["strategy=deepspeed_stage_3"], "package, GPU", "no process holds whole weights"),
        (["strategy=deepspeed_stage_2"], "package, GPU", "take callbacks.checkpoint=null"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    typed: list[str], there: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        monkeypatch.setattr(sharding, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "GPU" in there)
    accelerator = "gpu" if "GPU" in there else "cpu"
    keys = [f"trainer.{each}" for each in typed]
    with pytest.raises(ConfigError, match=said):
        look_at(compose(*keys, f"trainer.accelerator={accelerator}"))


def test_a_student_that_writes_is_not_divided() -> None:
    task = build(compose("task=sums").task)
    with pytest.raises(ConfigError, match=r"the student writes answers.*trainer.strategy=ddp"):
        check_divided({"strategy": "fsdp"}, task)
    check_divided({"strategy": "ddp"}, task)


def test_an_allocation_of_several_tasks_without_srun_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where srun is forgotten the one process would wait for others that never come."""
    for name in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, "2")
    with pytest.raises(ConfigError, match=r"2 tasks.*type srun before the line"):
        ranks.started()
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    assert ranks.started()
