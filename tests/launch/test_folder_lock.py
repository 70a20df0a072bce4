"""One process works in a run's folder; another one is told so and changes nothing there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from distill_lab.launch.commands import run_command
from distill_lab.launch.folder_lock import BUSY, busy, inherit
from tests.conftest import tiny
from tests.test_sweep import sweep

QUICK = ["baseline=false", "trainer.max_steps=2"]


def train(folder: Path, *line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def taken(folder: Path) -> FileLock:
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("of the process that works here\n")
    lock = FileLock(folder / ".lock")
    lock.acquire()
    return lock


def test_a_folder_that_is_taken_is_refused_and_left_as_it_is(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, "hydra.run.dir=mine"]
    lock = taken(tmp_path / "mine")
    before = content(tmp_path)
    answer = train(tmp_path, *line)
    assert answer.returncode == BUSY
    assert answer.stderr == (
        "distill-lab: mine: another process works in this folder; wait for it, or name another"
        " with hydra.run.dir=\n"
    )
    assert content(tmp_path) == before
    lock.release()
    assert train(tmp_path, *line).returncode == 0
    assert not (tmp_path / "mine" / "error.txt").exists() and not busy(tmp_path / "mine")


def test_a_folder_stays_taken_while_a_process_of_a_dead_starter_works(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    starter = taken(folder)
    inherit(folder)
    starter.release()  # as the system does for one that is killed
    seen = []
    for _ in range(20):
        seen.append(busy(folder))
        time.sleep(0.1)
    assert all(seen[10:])


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_sweep_leaves_a_job_to_the_process_that_works_at_it(
    at_once: int, finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, "study=s", "seed=1,2"]
    first = tmp_path / "runs" / "s" / "seed=1"
    lock = taken(first)
    (first / "error.txt").unlink()
    (first / "console.log").write_text("of the process that works here\n")
    before = content(first)
    answer = sweep(tmp_path, *line, f"hydra.launcher.n_jobs={at_once}")
    assert answer.returncode == 1
    assert "another process works in its folder" in answer.stdout
    assert "1 of 2 jobs failed" in answer.stderr
    assert content(first) == before
    assert (tmp_path / "runs" / "s" / "seed=2" / "result.json").is_file()
    lock.release()


def test_a_command_of_a_cluster_looks_before_it_writes(tmp_path: Path) -> None:
    lock = taken(tmp_path / "a")
    (tmp_path / "a" / "console.log").write_text("of the process that works here\n")
    before = content(tmp_path)
    assert run_command(["--cfg", "job"], str(tmp_path), "a/console.log", 0.0) == BUSY
    assert content(tmp_path) == before
    lock.release()


@pytest.mark.parametrize("rank", ["RANK", "SLURM_PROCID"])
def test_a_further_rank_does_not_ask_for_the_folder_of_the_first(rank: str, tmp_path: Path) -> None:
    lock = taken(tmp_path / "mine")
    answer = train(tmp_path, "hydra.run.dir=mine", "optim.lr=0", **{rank: "1"})
    assert "optim.lr=0" in answer.stderr and "another process" not in answer.stderr
    answer = train(tmp_path, "hydra.run.dir=mine", "optim.lr=0", **{rank: "0"})
    assert "another process" in answer.stderr
    lock.release()
