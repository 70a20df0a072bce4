"""Memory that runs out is told with what helps; rows that fit at once are found."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from distill_lab import memory
from distill_lab.errors import ConfigError, MemoryFault
from distill_lab.hydra_entry import compose
from distill_lab.memory import Peak, available, building
from distill_lab.modules import Distillation, FineTuning
from distill_lab.parts import _check_auto
from distill_lab.results import Result
from distill_lab.tasks import Task
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Batch
from tests.conftest import tiny

WEIGHTS = "student/model.safetensors"
CPU = torch.device("cpu")
LIMITED = """
import os, sys
os.environ["OMP_NUM_THREADS"] = os.environ["MALLOC_ARENA_MAX"] = "1"
import resource, psutil, torch
torch.set_num_threads(1)
from distill_lab.cli import main
import distill_lab.training as training, distill_lab.run
fit = training.fit
def limited(module, data, budget, out_dir, name, *more):
    if name == "student":
        have = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (have + (320 << 20), resource.RLIM_INFINITY))
    cost = fit(module, data, budget, out_dir, name, *more)
    if name == "student":
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return cost
distill_lab.run.fit = limited
sys.exit(main())
"""
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def limited(rows: Path, folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """Train with 320 MiB for the student's training; a row of 512 tokens takes some 30."""
    scratch = (
        "{model_type: bert, num_hidden_layers: 4, hidden_size: 32, num_attention_heads: 2,"
        " intermediate_size: 64}"
    )
    overrides = [
        "task=text_classification", f"task.train_file={rows}", "task.max_length=512",
        "teacher.model=null", f"teacher.scratch={scratch}", "teacher.max_steps=1",
        "teacher.batch_size=2", "teacher.min_over_chance=-1", "student.num_layers=4",
        "trainer.accelerator=cpu", "trainer.max_steps=1", "baseline=false", "teacher.cache=off",
        f"store_dir={folder}/store", f"hydra.run.dir={folder}/run",
    ]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", LIMITED, "train", *overrides, *line],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def long_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of more than 512 tokens."""
    path = tmp_path_factory.mktemp("long") / "rows.csv"
    texts = [f"{word} film " * 300 for word in ("good", "bad")] * 40
    pd.DataFrame({"text": texts, "label": [0, 1] * 40}).to_csv(path, index=False)
    return path


@ONLY_LINUX
def test_a_training_without_memory_says_what_helps(long_rows: Path, tmp_path: Path) -> None:
    answer = limited(long_rows, tmp_path, "optim.batch_size=32")
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    (said,) = [line for line in answer.stderr.splitlines() if line.startswith("distill-lab: ")]
    assert "training the student on 32 rows of up to 512 tokens at once needs more memory" in said
    for remedy in ("optim.batch_size=auto", "task.max_length=256", "precision=bf16-mixed"):
        assert remedy in said
    assert not (tmp_path / "run" / "result.json").exists()


@ONLY_LINUX
def test_auto_finds_what_fits_and_keeps_the_rows_of_a_step(long_rows: Path, tmp_path: Path) -> None:
    answer = limited(long_rows, tmp_path, "optim.batch_size=auto")
    assert answer.returncode == 0, answer.stderr
    (said,) = re.findall(r"student: (\d+) rows fit the memory at once, (\d+) times", answer.stderr)
    rows, times = map(int, said)
    assert rows in (2, 4, 8, 16) and rows * times == 32
    cost = Result.read(tmp_path / "run" / "result.json").cost["student"]
    assert cost["examples"] == 32 and cost["batch_size"] == rows


def at_most(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let trials and trainings of more rows run out of memory; return what was tried."""
    plain, tried = FineTuning._hard, list[int]()

    def hard(self: FineTuning, batch: object) -> Tensor:
        tried.append(len(batch.labels))  # type: ignore[attr-defined]
        if len(batch.labels) > most:  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, batch)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(FineTuning, "_hard", hard)
    return tried


def test_a_trial_leaves_nothing(
    lab: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Steps of four parts that were found end where four that were asked for end."""
    line = ["objective.lam=0", "trainer.max_steps=4"]
    asked = lab(*line, "optim.batch_size=8", "trainer.accumulate_grad_batches=4", out="asked")
    tried = at_most(monkeypatch, 8)
    found = lab(*line, "optim.batch_size=auto", out="found")
    assert tried[:5] == [1, 2, 4, 8, 16]
    assert found.cost["baseline"]["batch_size"] == 8
    assert found.metrics["baseline"] == asked.metrics["baseline"]
    one, two = (
        load_file(tmp_path / "store/baselines" / each.fingerprints["baseline"] / WEIGHTS)
        for each in (asked, found)
    )
    assert asked.fingerprints["baseline"] != found.fingerprints["baseline"]
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_an_interrupted_training_goes_on_with_the_rows_that_were_found(
    lab: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = ["optim.batch_size=auto", "callbacks.resume.every_steps=2", "trainer.max_steps=5"]
    monkeypatch.setattr("distill_lab.training.fitting_rows", lambda *_: 8)
    whole = lab(*line, "baseline=false", out="whole")
    stop = Stop(after=3)
    monkeypatch.setattr(Distillation, "on_train_batch_start", stop.before(Distillation))
    with pytest.raises(Stop):
        lab(*line, "baseline=false", out="again")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distill_lab.training.fitting_rows", lambda *_: 16)  # more is free now
    again = lab(*line, "baseline=false", out="again")
    assert again.cost["student"]["batch_size"] == 8
    one, two = (load_file(tmp_path / out / WEIGHTS) for out in ("whole", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert again.metrics == whole.metrics


class Stop(Exception):
    """Ends a training after some optimizer steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def before(self, module: type[Distillation]) -> Callable[..., None]:
        plain = module.on_train_batch_start

        def hook(each: Distillation, batch: Batch, index: int) -> None:
            if each.global_step > self.after:
                raise self
            plain(each, batch, index)

        return hook


def test_answers_are_asked_for_fewer_at_a_time_where_memory_runs_out(
    lab: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = lab("baseline=false", out="whole")
    plain = Task.answer

    def answer(self: Task, model: object, batch: Batch, rows: ModelRows) -> Tensor:
        if len(batch.ids) > 20:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return plain(self, model, batch, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Task, "answer", answer)
    with caplog.at_level("INFO"):
        found = lab("baseline=false", "optim.batch_size=4", "seed=2", out="less")
    assert "64 rows at once do not fit the memory, tries half" in caplog.text
    assert found.metrics["teacher"] == expected.metrics["teacher"]


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), building("it", "nothing"):
        raise RuntimeError("shape '[2]' is invalid")
    with (
        pytest.raises(MemoryFault, match=r"it needs more memory .*: a, b$"),
        building("it", "a", "b"),
    ):
        torch.empty(2**60)


@ONLY_LINUX
def test_a_peak_is_seen_after_it_is_over() -> None:
    peak = Peak()
    torch.ones(25_000_000).sum()  # 100 MB, gone at once
    grown = peak.grown()
    assert grown is not None and 90e6 < grown < 200e6


@ONLY_LINUX
def test_what_control_groups_leave_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    inner = groups / "slurm" / "job_1"
    inner.mkdir(parents=True)
    proc.mkdir()
    (proc / "cgroup").write_text("0::/slurm/job_1\n")
    (inner / "memory.max").write_text("max\n")
    (groups / "slurm" / "memory.max").write_text("9000\n")
    (groups / "slurm" / "memory.current").write_text("4000\n")
    monkeypatch.setattr(memory, "_PROC", proc)
    monkeypatch.setattr(memory, "_GROUPS", groups)
    assert available(CPU) == 5000


def test_where_a_model_is_divided_nothing_is_looked_for(
    finetuned: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*tiny(finetuned, rows_file), "teacher.batch_size=auto", "trainer.strategy=fsdp"]
    with pytest.raises(ConfigError, match=r"teacher.batch_size=auto: under trainer.strategy=fsdp"):
        _check_auto(compose(*line))
    _check_auto(compose(*line, "trainer.strategy=ddp"))
    _check_auto(compose(*line, "trainer.strategy=auto"))
