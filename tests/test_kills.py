"""Processes killed at random moments and renames, on sentences and on questions."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.tasks.squad_files import folder as squad_folder
from tests.test_resume import HARD, overrides, same

KILLS = int(os.environ.get("KILLS", "8"))  # of each task
SEED = int(os.environ.get("KILL_SEED", "1"))
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["distill_lab.launch.preloaded"])
# As many heads as the teacher, and half its width: hidden states are projected.
NARROW = ",".join(
    f"{key}:{value}" for key, value in {**TINY, "num_hidden_layers": 2, "hidden_size": 16}.items()
)
# What the log says last before something begins.
PHASES = {
    "teacher: fine-tuning": "the teacher's training",
    "teacher: kept as": "the teacher's answers",
    "teacher: accuracy": "signals",
    "teacher: exact_match": "signals",
    "student: epoch": "the student's training",
    "student: 2 layers": "signals, or the student's training",
    "baseline: the same": "the baseline's training",
    "baseline: kept as": "answers and results",
}


def questions(model: Path, data: Path) -> list[str]:
    return [
        "task=squad", f"task.data_dir={data}",
        "task.files={train: train.json, evaluation: dev.json}",
        "task.max_length=32", "task.stride=8", "task.max_question=8",
        f"teacher.model={model}", "teacher.lr=2e-3", "teacher.min_over_chance=-1",
        "student=scratch", f"student.sizes={{{NARROW}}}", "optim.lr=1e-3",
        "trainer.accelerator=cpu",
        "callbacks.distillation.temperature_schedule=linear",
        "callbacks.distillation.temperature_end=1", "objective.temperature=4",
        *(each for each in HARD if not each.startswith(("objective", "student"))),
        "objective=tinybert",
    ]  # fmt: skip


def child(line: list[str], folder: Path, rename: int | None, after: bool) -> None:
    """Run in a process of its own; optionally die at a rename."""
    os.setsid()
    told = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1), os.dup2(told, 2)
    if rename is not None:
        die_at(rename, after)
    os.chdir(folder)
    places = [f"hydra.run.dir={folder}/run", f"store_dir={folder}/store"]
    sys.argv = ["distill-lab", "train", *line, *places]
    from distill_lab.cli import main

    code = main()
    logging.shutdown()
    os._exit(code)


def die_at(number: int, after: bool) -> None:
    """Kill this process before or after the n-th of its renames."""
    count = iter(range(number))

    def dying(rename: Callable[..., None]) -> Callable[..., None]:
        def hook(*given: Any, **more: Any) -> None:
            last = next(count, None) is None
            if last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*given, **more)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)

        return hook

    os.replace, os.rename = dying(os.replace), dying(os.rename)


def go(line: list[str], folder: Path, *death: Any) -> Any:
    folder.mkdir(exist_ok=True)
    process = START.Process(target=child, args=(line, folder, *(death or (None, False))))
    process.start()
    return process


def phase(folder: Path) -> str:
    """Return in what a process was killed, by its log."""
    told = (folder / "log").read_text(errors="replace").splitlines()
    known = (PHASES[words] for line in reversed(told) for words in PHASES if words in line)
    return next(known, "the beginning")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sentences", "questions"])
def test_killed_at_any_moment_it_ends_at_the_same_bits(
    task: str, encoder: Path, rows_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if task == "sentences":
        line = overrides(encoder, rows_file)
    else:
        line = questions(encoder, squad_folder(tmp_path / "squad"))
    since = time.monotonic()
    whole = go(line, tmp_path / "whole")
    whole.join()
    took = time.monotonic() - since
    assert whole.exitcode == 0, (tmp_path / "whole" / "log").read_text()

    drawn, killed = random.Random(SEED), Counter[str]()
    folders = list[Path]()
    while sum(killed.values()) < KILLS:
        folder = tmp_path / f"killed{len(folders)}"
        folders.append(folder)
        while sum(killed.values()) < KILLS:
            if drawn.random() < 0.5:
                process = go(line, folder)
                process.join(timeout=drawn.uniform(0.02, 0.6) * took)
                if process.exitcode is None:
                    os.kill(process.pid, signal.SIGKILL)
                    process.join()
            else:
                process = go(line, folder, drawn.randrange(30), drawn.random() < 0.5)
                process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL, (folder / "log").read_text()
            killed[phase(folder)] += 1
        else:
            last = go(line, folder)
            last.join()
            assert last.exitcode == 0, (folder / "log").read_text()
        same(tmp_path / "whole", folder)
    with capsys.disabled():
        print(f"\n{task}: {sum(killed.values())} kills, {dict(killed)}, {len(folders)} runs")
    assert len(killed) > min(KILLS // 4, 3)
