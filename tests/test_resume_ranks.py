"""Of processes that train together one is lost: the others end, and the same line goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch.distributed as dist

from distill_lab import ranks
from distill_lab.callbacks import Resume, resume
from distill_lab.errors import ConfigError, JobsFailed, OthersGone
from distill_lab.job import Recorded
from tests.test_resume import line, same

pytestmark = pytest.mark.usefixtures("one_thread")
MARK = "DISTILL_LAB_TEST_MARK"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
            "--rdzv-endpoint=localhost:0"]  # fmt: skip
BOUND = 60.0  # seconds until a run that has lost a process has ended; torch waits 30 for the others
# Lines after which a process is lost, in the order in which they are told.
MOMENTS = ["task: reviews", "teacher: epoch 1/2", "teacher: kept", "student: epoch 1/3",
           "student: epoch 2/3", "baseline: epoch 1/3", "baseline: epoch 2/3"]  # fmt: skip


@dataclass
class Started:
    """A command that starts processes, which are found by a mark in their environment."""

    process: subprocess.Popen[bytes]
    mark: str
    told: Path

    @classmethod
    def of(cls, command: Sequence[str], told: Path) -> Started:
        mark = uuid.uuid4().hex
        told.parent.mkdir(parents=True, exist_ok=True)
        with told.open("wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=told.parent,
                env={**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        return cls(process, mark, told)

    def living(self) -> dict[int, str]:
        """Return its processes with their ranks; that which starts the others has none."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                content = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            names = dict(v.split("=", 1) for v in content.decode().split("\0") if "=" in v)
            if names.get(MARK) == self.mark and state != "Z":
                found[int(folder.name)] = names.get("RANK", "")
        return found

    def until(self, text: str) -> bool:
        """Wait until something is told; False if it has ended before."""
        while text not in self.told.read_text("utf-8", "replace"):
            if self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def lose(self, rank: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to the process of a rank, "" for the first; False if there is none."""
        for pid, found in self.living().items():
            if found == rank:
                os.kill(pid, number)
                return True
        return False

    def end(self) -> tuple[int, str, float]:
        """Wait for its end, and that of all its processes; return code, words and seconds."""
        since = time.monotonic()
        try:
            code = self.process.wait(timeout=BOUND)
            while self.living():
                assert time.monotonic() - since < BOUND, f"left over: {self.living()}"
                time.sleep(0.1)
        finally:
            for pid in self.living():
                os.kill(pid, signal.SIGKILL)
        return code, self.told.read_text("utf-8", "replace"), time.monotonic() - since


def of_two(
    model: Path, rows: Path, folder: Path, strategy: str = "ddp", starter: Sequence[str] = ()
) -> list[str]:
    python, *rest = line(model, rows, folder, "trainer.devices=2", f"trainer.strategy={strategy}")
    return [python, *starter, *rest]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, encoder: Path, rows_file: Path
) -> Callable[[str], Path]:
    """Runs of two processes that nobody disturbed, by strategy."""

    @cache
    def made(strategy: str) -> Path:
        folder = tmp_path_factory.mktemp(strategy)
        typed = of_two(encoder, rows_file, folder, strategy)
        answer = subprocess.run(typed, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return folder

    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "starter"),
    [("ddp", []), ("ddp", TORCHRUN), ("fsdp", [])],
    ids=["ddp", "torchrun", "fsdp"],
)
def test_a_run_that_loses_processes_ends_and_goes_on_to_the_same_bits(
    strategy: str, starter: list[str], encoder: Path, rows_file: Path,
    whole: Callable[[str], Path], tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    drawn = random.Random(int(os.environ.get("KILL_SEED", "1")))
    kills = int(os.environ.get("KILLS", "2"))
    typed = of_two(encoder, rows_file, tmp_path, strategy, starter)
    often = -(-kills // len(MOMENTS))
    moments = sorted(drawn.sample(MOMENTS * often, k=kills), key=MOMENTS.index)
    seconds = []
    for kill, moment in enumerate(moments):
        run = Started.of(typed, tmp_path / f"told{kill}.txt")
        rank = str(kill % 2)
        if not run.until(moment):
            assert run.end()[0] == 0, run.told.read_text()  # an earlier try came further
            continue
        time.sleep(drawn.uniform(0, 1.5))
        lost = run.lose(rank)
        code, told, took = run.end()
        if not lost:
            assert code == 0, told
            break
        seconds.append(round(took, 1))
        if code == 0:  # it had just ended
            continue
        assert code == 1, told
        if not starter:
            assert "one of 2 processes failed (ended by signal 9)" in told
            assert "Traceback" not in told
        assert (tmp_path / "run" / "error.txt").read_text().count("\n") == 1
    record_property("seconds until all had ended", seconds)
    print("seconds until all had ended:", seconds)
    answer = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    same(whole(strategy), tmp_path)


@pytest.mark.slow
def test_the_process_that_starts_the_others_may_be_lost_too(
    encoder: Path, rows_file: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    typed = of_two(encoder, rows_file, tmp_path)
    run = Started.of(typed, tmp_path / "told.txt")
    assert run.until("student: epoch 1/3") and run.lose("")
    code, told, _ = run.end()
    assert code == -signal.SIGKILL and "Traceback" not in told
    assert "keeps how far it is" in told and not (tmp_path / "run" / "result.json").exists()
    told_to_end = Started.of(typed, tmp_path / "told.txt")
    assert told_to_end.until("goes on after step") and told_to_end.lose("", signal.SIGTERM)
    code, told, _ = told_to_end.end()
    assert code == -signal.SIGTERM and "Traceback" not in told
    subprocess.run(typed, check=True, capture_output=True)
    same(whole("ddp"), tmp_path)


MEETING = """
import os, signal, sys
from distill_lab import ranks
from distill_lab.errors import OthersGone
try:
    with ranks.joined():
        ranks.together()
        print("met", flush=True)
        if ranks.rank() == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.together()
except OthersGone as gone:
    print(gone, flush=True)
    sys.exit(1)
"""


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_who_waits_for_a_lost_process_is_told(lost: int, tmp_path: Path) -> None:
    (tmp_path / "meeting.py").write_text(MEETING)
    typed = [sys.executable, *TORCHRUN, "meeting.py", str(lost)]
    code, told, _ = Started.of(typed, tmp_path / "told.txt").end()
    assert code == 1 and told.count("met") == 2
    assert f"process {1 - lost} of 2: another one has ended (Connection " in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:2"),
            "Connection closed by peer",
        ),
        (
            dist.DistBackendError("NCCL error: ncclRemoteError: a remote process exiting early"),
            "remote process exiting",
        ),
        (dist.DistNetworkError("failed to recv, got 0 bytes"), "failed to recv"),
        (dist.DistBackendError("NCCL error: unhandled cuda error"), None),  # one's own fault
        (RuntimeError("Connection closed by peer"), None),  # of a logger, say
    ],
)
def test_what_tells_of_a_lost_process(error: Exception, told: str | None) -> None:
    assert ranks.told_of_others(error) == told


@pytest.mark.parametrize(("seconds", "steps"), [(0.001, 10), (0.3, 3), (20.0, 1)])
def test_processes_agree_on_their_end_after_a_second_or_ten_steps(
    seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short an epoch is: of the batches within it this is not told."""
    now, asked = [0.0], list[Any]()

    def gathered(mine: Any) -> list[Any]:
        asked.append(mine)
        return [mine, (0, False, 0.0)]

    def step() -> int:
        now[0] += seconds
        return keeper._agreed(trainer, 1)[0]

    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "gathered", gathered)
    keeper, trainer = Resume(every_minutes=None), cast(Any, SimpleNamespace(global_step=1))
    assert not any(step() for _ in range(60))
    assert len(asked) <= 2 + 60 / steps
    keeper._asked = signal.SIGTERM
    assert any(step() for _ in range(steps))


def test_the_cause_is_kept_and_not_what_others_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(error: Exception, folder: Path = tmp_path) -> str:
        Recorded(folder).__exit__(type(error), error, None)
        return (folder / "error.txt").read_text() if folder.is_dir() else ""

    gone, cause = OthersGone(0, 2, "Connection closed"), ConfigError("optim.lr=0: above 0")
    assert failed(gone).startswith("process 0 of 2: another one has ended")
    assert failed(cause) == "optim.lr=0: above 0\n"
    assert failed(gone) == "optim.lr=0: above 0\n"
    assert failed(JobsFailed("one of 2 processes failed")) == "optim.lr=0: above 0\n"
    monkeypatch.setenv("RANK", "1")  # of torchrun, whose processes name folders by their clocks
    assert failed(cause, tmp_path / "other") == ""
