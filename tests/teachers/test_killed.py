"""Killed with SIGKILL while writing signals: nothing half-written is read, the next start mends."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill_lab import store as store_module
from distill_lab.folders import entry_folders
from distill_lab.hydra_entry import compose
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.store import Store, damage
from distill_lab.tasks.batching import scoring_batches
from distill_lab.teachers import Live
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.types import Wanted
from tests.conftest import tiny
from tests.stacks import stack
from tests.teachers.test_cached import rows

FORK = multiprocessing.get_context("fork")  # real processes, without loading torch each time
SEED = int(os.environ.get("KILL_SEED", "1"))
TIMES = 20
INSIDE = Wanted((0, 4), (1,))
SLOWLY = 0.05  # seconds of each step
PHASES = ("begun", "making", "file", "written", "summed", "sealed", "cleared", "renamed")


def write_signals(root: str, step: Callable[[str], None]) -> Path:
    """Keep real signals as a run does, and tell of each step on the way."""
    teacher, given = Live(lambda: stack("bert"), "teacher", "", ""), rows()

    class Writer(SignalWriter):
        def flush(self) -> None:
            super().flush()
            step("file")

    def make(folder: Path) -> None:
        step("making")
        writer = Writer(folder, INSIDE, torch.float32)
        for batch in scoring_batches(given, 8):
            writer.add(batch, teacher.signals(batch, INSIDE))
        writer.flush()
        step("written")

    step("begun")
    path, _ = Store(root).get("signals", 1, make)
    return path


def slowly(root: str, told: Connection) -> None:
    """The same in a process of its own, with every step of the store made visible and slow."""

    def step(name: str) -> None:
        told.send(name)
        time.sleep(SLOWLY)

    def then(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def both(*given: Any) -> Any:
            answer = function(*given)
            step(name)
            return answer

        return both

    inside: Any = store_module
    inside.checksum = then(inside.checksum, "summed")
    inside._seal = then(inside._seal, "sealed")
    inside.discard = then(inside.discard, "cleared")
    Path.rename = then(Path.rename, "renamed")  # type: ignore[method-assign]
    write_signals(root, step)


def read_whole(path: Path) -> None:
    """Read an entry as a run does, and hold it against the teacher."""
    teacher, given = Live(lambda: stack("bert"), "teacher", "", ""), rows()
    files = SignalFiles(path)
    assert len(files) == len(given)
    for batch in scoring_batches(given, 16):
        stored = files.signals(batch, INSIDE).logits
        torch.testing.assert_close(stored, teacher.signals(batch, INSIDE).logits)


def killed_at(step: str, count: int, later: float, store: Store) -> list[str]:
    """Kill a writer some seconds after a step has come so many times; return the steps it took."""
    ours, theirs = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=slowly, args=(str(store.root), theirs))
    worker.start()
    theirs.close()
    steps: list[str] = []
    while steps.count(step) < count:
        steps.append(ours.recv())
        found = store.find("signals", 1)  # as another process may, at any moment
        assert found is None or "renamed" in steps
    time.sleep(later)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert worker.exitcode == -signal.SIGKILL, "it had ended before"
    return steps


def moments(random: random.Random) -> list[tuple[str, int, float, bool]]:
    """Every step at least twice, the n-th of its kind, somewhere in it, with a damaged entry or
    without."""
    steps = [*PHASES, *PHASES, *random.choices(PHASES, k=TIMES - 2 * len(PHASES))]
    many = {"file": 3, "summed": 3}
    return [
        (step, random.randint(1, many.get(step, 1)), random.uniform(0, 0.9 * SLOWLY), i % 2 == 1)
        for i, step in enumerate(steps)
    ]


@pytest.mark.slow
def test_killed_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill_lab.teachers.signal_files.FILE_BYTES", 10_000)
    for number, moment in enumerate(moments(random.Random(SEED))):
        step, count, later, damaged = moment
        store = Store(tmp_path / str(number))
        if damaged:
            file = next(write_signals(str(store.root), lambda _: None).glob("*.safetensors"))
            file.write_bytes(file.read_bytes()[:-1])
        try:
            killed_at(step, count, later, store)
            found = store.find("signals", 1)
            if found is not None:
                assert step == "renamed"
                read_whole(found)
            assert damaged or not [p for p in entry_folders(store.root) if damage(p)]
            read_whole(write_signals(str(store.root), lambda _: None))
            assert not list(store.root.rglob("*.tmp"))
        except Exception as error:
            raise AssertionError(f"KILL_SEED={SEED}, moment {number}: {moment}") from error


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again(
    finetuned: Path, rows_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole run, killed at any moment, typed again: the same bits as without."""
    caplog.set_level(logging.CRITICAL)

    def go(name: str, store: str) -> Result:
        line = [*tiny(finetuned, rows_file), "objective=hidden", "teacher.cache=on",
                f"store_dir={tmp_path / store}"]  # fmt: skip
        return run(compose(*line), tmp_path / name)

    started = time.monotonic()
    expected = go("whole", "once")
    lasts, draw = time.monotonic() - started, random.Random(SEED)
    finished = 0
    for number in range(TIMES):
        # Now and then from the beginning: afterwards most of it is there.
        place, moment = f"store{number // 5}", draw.uniform(0, lasts)
        worker = FORK.Process(target=go, args=("killed", place))
        worker.start()
        worker.join(moment)
        if worker.is_alive():
            worker.kill()
        worker.join()
        finished += worker.exitcode == 0
        told = f"KILL_SEED={SEED}, moment {number}: {moment:.3f} s of {lasts:.3f}"
        assert worker.exitcode in (0, -signal.SIGKILL), told
        assert not [damage(p) for p in entry_folders(tmp_path / place) if damage(p)], told
        result = tmp_path / "killed" / "result.json"
        assert result.exists() == (worker.exitcode == 0), told
        if worker.exitcode == 0:
            assert Result.read(result).fingerprints == expected.fingerprints, told
            result.unlink()
    assert finished < TIMES / 2, "most were to be killed"
    for place in tmp_path.glob("store*"):
        result = go("last", place.name)
        assert result.fingerprints == expected.fingerprints and result.metrics == expected.metrics
        assert not list(place.rglob("*.tmp"))


def test_the_moments_are_in_every_step() -> None:
    drawn = moments(random.Random(SEED))
    assert len(drawn) == TIMES and {step for step, *_ in drawn} == set(PHASES)
    assert np.unique([later for _, _, later, _ in drawn]).size == TIMES
