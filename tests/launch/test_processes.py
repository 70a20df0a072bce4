"""Jobs are processes: forked with the libraries, beside each other, ended when the sweep ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill_lab.launch.processes import Place
from distill_lab.processors import processors
from tests.conftest import tiny
from tests.waiting import until

QUICK = ["baseline=false", "trainer.max_steps=2"]
ENDLESS = ["baseline=false", "trainer.max_epochs=100000"]


@contextmanager
def started(folder: Path, *line: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep in a session of its own, as a terminal gives it."""
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "distill_lab", "train", "-m", *line],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def running(folder: Path) -> list[int]:
    """Processes that have this folder as theirs, but the first."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").resolve() == folder.resolve():
                found.append(int(place.name))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")


def test_two_at_a_time_write_to_their_folders(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, "study=s", "seed=1,2,3"]
    with started(tmp_path, *line, "hydra.launcher.n_jobs=2") as sweep:
        assert sweep.wait(300) == 0, (tmp_path / "said").read_text()
    said = (tmp_path / "said").read_text()
    for number in (1, 2, 3):
        assert re.search(rf"^job {number}/3.*: seed={number}$", said, re.M)
        assert re.search(rf"^job {number}/3: [01]\.\d{{4}} in \d+ s$", said, re.M)
        folder = tmp_path / "runs" / "s" / f"seed={number}"
        assert (folder / "result.json").is_file()
        assert "student: 2 layers" in (folder / "console.log").read_text()
    assert "student: 2 layers" not in said


@needs_proc
def test_ctrl_c_ends_the_jobs_and_says_how_to_go_on(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *ENDLESS, "study=s", "seed=1,2,3"]
    with started(tmp_path, *line, "hydra.launcher.n_jobs=2") as sweep:
        folders = [tmp_path / "runs" / "s" / f"seed={number}" for number in (1, 2)]
        until(lambda: all((folder / "metrics.csv").exists() for folder in folders))
        os.kill(sweep.pid, signal.SIGINT)
        assert sweep.wait(60) == 130
        until(lambda: not running(tmp_path), 10)
    said = (tmp_path / "said").read_text()
    assert "0 of 3 jobs are finished" in said and "the same line" in said
    assert "Traceback" not in said
    for folder in folders:
        assert not (folder / "result.json").exists() and not (folder / "error.txt").exists()


@needs_proc
def test_ctrl_c_while_the_libraries_are_imported_says_one_sentence(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    with started(tmp_path, *tiny(finetuned, rows_file), *ENDLESS, "study=s", "seed=1,2") as sweep:
        until(lambda: any("forkserver" in _command(pid) for pid in running(tmp_path)))
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal sends it
        assert sweep.wait(60) == 130
        until(lambda: not running(tmp_path), 30)
    said = (tmp_path / "said").read_text()
    assert "interrupted; the same line goes on" in said and "Traceback" not in said


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@needs_proc
def test_jobs_do_not_outlive_a_sweep_that_is_killed(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *ENDLESS, "study=s", "seed=1,2"]
    with started(tmp_path, *line) as sweep:
        until(lambda: (tmp_path / "runs" / "s" / "seed=1" / "metrics.csv").exists())
        assert len(running(tmp_path)) > 1
        sweep.kill()
        sweep.wait()
        until(lambda: not running(tmp_path), 30)


@needs_proc
@pytest.mark.slow
def test_processes_of_one_job_do_not_outlive_what_started_them(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    two = ["trainer.devices=2", "trainer.strategy=ddp", "hydra.run.dir=run"]
    command = [sys.executable, "-m", "distill_lab", "train", *tiny(finetuned, rows_file)]
    with (tmp_path / "said").open("w") as said:
        job = subprocess.Popen(
            [*command, *ENDLESS, *two], cwd=tmp_path, stdout=said, stderr=said,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    until(lambda: (tmp_path / "run" / "metrics.csv").exists())
    assert len(running(tmp_path)) >= 3
    job.kill()
    job.wait()
    until(lambda: not running(tmp_path), 60)


@needs_proc
def test_a_job_that_is_killed_has_failed_and_the_others_go_on(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "baseline=false", "study=s", "trainer.max_epochs=100000,1"]
    folder = tmp_path / "runs" / "s"
    first = folder / "trainer.max_epochs=100000"
    with started(tmp_path, *line) as sweep:
        until(lambda: (first / "metrics.csv").exists())
        job = next(pid for pid in running(tmp_path) if _writes(pid, first / "train.log"))
        os.kill(job, signal.SIGKILL)
        assert sweep.wait(120) == 1
    said = (tmp_path / "said").read_text()
    assert "1 of 2 jobs failed; each has its error.txt" in said
    assert (first / "error.txt").read_text().startswith("killed; where the memory was full")
    assert (folder / "trainer.max_epochs=1" / "result.json").is_file()


def _writes(pid: int, file: Path) -> bool:
    links = Path(f"/proc/{pid}/fd").glob("*")
    return any(os.path.realpath(link) == str(file.resolve()) for link in links)


STATE = """
import sys, threading
from concurrent.futures import ProcessPoolExecutor
from distill_lab.launch.processes import Place, clean_context

def state():
    libraries = "pytorch_lightning" in sys.modules and "transformers" in sys.modules
    import torch
    return libraries, torch.cuda.is_initialized(), len(threading.enumerate())

if __name__ == "__main__":
    with ProcessPoolExecutor(1, clean_context()) as pool:
        print(*pool.submit(state).result())
"""


def test_the_process_that_jobs_are_forked_from_has_touched_nothing(tmp_path: Path) -> None:
    script = tmp_path / "state.py"
    script.write_text(STATE)
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False", "1"]


def test_there_is_a_processor() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)


@needs_proc
def test_a_run_that_is_told_to_end_does_not_end_as_if_it_had_succeeded(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *ENDLESS, "hydra.run.dir=run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distill_lab", "train", *line],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        metrics = tmp_path / "run" / "metrics.csv"
        until(lambda: metrics.is_file() and metrics.stat().st_size)
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    finally:
        process.kill()
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("slot", "devices", "count", "own"),
    [
        (0, 1, 4, "0"), (3, 1, 4, "3"), (5, 1, 4, "1"), (0, 2, 4, "0,1"), (1, 2, 4, "2,3"),
        (1, "2", 3, "2,0"), (0, 1, 1, ""), (0, 4, 4, ""), (0, "auto", 4, ""), (0, -1, 4, ""),
        (0, None, 4, ""),
    ],
)  # fmt: skip
def test_jobs_beside_each_other_have_gpus_of_their_own(
    slot: int, devices: object, count: int, own: str
) -> None:
    assert Place(slot, 2, devices).gpus(count) == own


def test_gpus_that_an_allocation_names_are_divided_by_their_names() -> None:
    assert Place(1, 2, 2).gpus(4, "4,5,6,7") == "6,7"
    assert Place(1, 2, 1).gpus(2, "GPU-a,GPU-b") == "GPU-b"
