"""A run that is ended goes on to the same bits."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill_lab.progress_files import FOLDER, ProgressFiles
from distill_lab.random_states import random_states, restore
from distill_lab.results import Result
from tests.conftest import tiny

# Dropout, accumulation, a schedule, and an objective with projections.
HARD = [
    "objective=combine",
    "objective.weights.hinton=[1.0,0.2]",
    "student.hidden_size=16",
    "trainer.accumulate_grad_batches=2",
    "trainer.max_epochs=3",
    "teacher.epochs=2",
    "optim.batch_size=16",
    "trainer.log_every_n_steps=1",
    "callbacks.resume.every_steps=3",
]


def line(model: Path, rows: Path, folder: Path, *more: str) -> list[str]:
    base = [o for o in tiny(model, rows) if not o.startswith(("trainer.max_ep", "teacher.epochs"))]
    base = [o for o in base if not o.startswith("trainer.log")]
    place = [f"hydra.run.dir={folder}/run", f"store_dir={folder}/store"]
    return [sys.executable, "-m", "distill_lab", "train", *base, *HARD, *place, *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "student" / "model.safetensors")


def steps(file: Path) -> list[tuple[str, ...]]:
    """Lines of metrics.csv without those that hold times."""
    with file.open(newline="") as opened:
        return [tuple(sorted(row.items())) for row in csv.DictReader(opened)]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, encoder: Path, rows_file: Path
) -> Iterator[Path]:
    """A run that nobody ended."""
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    subprocess.run(line(encoder, rows_file, folder), check=True, stdin=subprocess.DEVNULL)
    (folder / "seconds").write_text(str(time.monotonic() - started))
    yield folder


@pytest.mark.slow
def test_killed(encoder: Path, rows_file: Path, whole: Path, tmp_path: Path) -> None:
    drawn = random.Random(int(os.environ.get("KILL_SEED", "1")))
    most = float((whole / "seconds").read_text())
    log = ""
    for _ in range(4):
        process = subprocess.Popen(
            line(encoder, rows_file, tmp_path), stderr=subprocess.PIPE, text=True
        )
        try:
            log += process.communicate(timeout=drawn.uniform(0.4, 1.0) * most)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            log += process.communicate()[1]
    done = subprocess.run(line(encoder, rows_file, tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(log + done.stderr)
    same(whole, tmp_path)


def same(whole: Path, other: Path) -> None:
    expected, found = weights(whole), weights(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert steps(whole / "run" / "metrics.csv") == steps(other / "run" / "metrics.csv")
    for kind in ("teachers", "baselines"):
        (mine,) = (other / "store" / kind).glob("*/metrics.csv")
        (theirs,) = (whole / "store" / kind).glob("*/metrics.csv")
        assert mine.parent.name == theirs.parent.name
        assert steps(theirs) == steps(mine), kind
    results = [Result.read(folder / "run" / "result.json") for folder in (whole, other)]
    assert results[0].metrics == results[1].metrics
    assert not (other / "run" / FOLDER).exists()
