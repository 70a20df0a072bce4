"""The launcher on a real Slurm; `tests/launch/slurm_here.sh start` makes one of this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from distill_lab.results import Result
from tests.conftest import tiny
from tests.launch.test_processes import started
from tests.test_sweep import sweep
from tests.waiting import until

SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"]
QUICK = ["study=s", "baseline=false"]
ENDLESS = "trainer.max_epochs=100000"


def answers() -> bool:
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False)
    return " UP" in said.stdout


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("submitit") is None,
        reason="submitit is not installed; `make cluster-test` installs it",
    ),
    pytest.mark.skipif(
        not answers(), reason="no Slurm answers here; tests/launch/slurm_here.sh start"
    ),
]


def queued(folder: Path) -> dict[str, str]:
    """State by name of the jobs that were submitted below a folder and have not ended."""
    said = subprocess.run(
        ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%o"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [line.split("|") for line in said.splitlines()]
    return {row[0]: row[1] for row in rows if row[2].startswith(str(folder))}


def trains(folder: Path) -> bool:
    """Whether a job has written its first steps."""
    return any(file.stat().st_size for file in folder.rglob("metrics.csv"))


def test_jobs_share_a_store_fail_alone_and_are_skipped_when_finished(
    encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(encoder, rows_file), *QUICK, "seed=1,2", "teacher.min_over_chance=0,0.9"]
    answer = sweep(tmp_path, *line, *SLURM)
    assert answer.returncode == 1, answer.stderr
    assert "2 of 4 jobs failed" in answer.stderr and "Traceback" not in answer.stderr
    assert "there is nothing to distil" in answer.stderr
    done = [tmp_path / "runs" / "s" / f"seed={n},teacher.min_over_chance=0" for n in (1, 2)]
    assert [Result.read(folder / "result.json").seed for folder in done] == [1, 2]
    assert len(list((tmp_path / "store" / "teachers").glob("*/"))) == 1
    stamps = [(folder / "result.json").stat().st_mtime_ns for folder in done]
    again = sweep(tmp_path, *line, *SLURM)
    assert "2 of 4 jobs are finished already" in again.stderr
    assert [(folder / "result.json").stat().st_mtime_ns for folder in done] == stamps
    assert not queued(tmp_path)


def test_ctrl_c_cancels_the_jobs(finetuned: Path, rows_file: Path, tmp_path: Path) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, ENDLESS, "seed=1,2,3"]
    with started(tmp_path, *line, *SLURM) as process:
        until(lambda: trains(tmp_path), 300)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    assert not queued(tmp_path)
    assert "0 of 3 jobs are finished" in (tmp_path / "said").read_text()


def test_a_job_that_slurm_ends_is_told_and_the_others_go_on(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, "trainer.max_epochs=100000,1"]
    endless = tmp_path / "runs" / "s" / ENDLESS
    record = endless.parent / ".submitit" / f"{ENDLESS}.json"
    with started(tmp_path, *line, *SLURM) as process:
        until(lambda: trains(endless), 300)
        job = json.loads(record.read_text())["job"]
        subprocess.run(["scancel", job], check=True)
        assert process.wait(300) == 1
    said = (tmp_path / "said").read_text()
    assert "1 of 2 jobs failed" in said
    assert (endless / "error.txt").read_text() == f"cancelled in Slurm (job {job})\n"
    assert (endless.parent / "trainer.max_epochs=1" / "result.json").is_file()


def test_a_line_typed_again_waits_for_the_jobs_of_a_sweep_that_was_killed(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, "trainer.max_epochs=100", "seed=1,2,3"]
    with started(tmp_path, *line, *SLURM) as process:
        until(lambda: trains(tmp_path), 300)
        process.kill()
        process.wait()
    before = queued(tmp_path)
    assert before
    again = sweep(tmp_path, *line, *SLURM)
    assert again.returncode == 0, again.stderr
    assert "of an earlier line are in the queue" in again.stderr
    runs = tmp_path / "runs" / "s"
    assert len(list(runs.glob("*/result.json"))) == 3
    arrays = {f.name.partition("_")[0] for f in (runs / ".submitit").glob("*_submitted.pkl")}
    assert len(arrays) == 1 or len(before) < 3  # nothing that was queued is submitted twice
    assert not queued(tmp_path)


TWO = ["trainer.devices=2", "trainer.strategy=ddp", "teacher.cache=on"]


@pytest.mark.parametrize("tasks", [1, 2])
def test_two_processes_a_job_share_a_folder(
    tasks: int, finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, *TWO, "seed=1,2"]
    answer = sweep(tmp_path, *line, *SLURM, f"hydra.launcher.tasks_per_node={tasks}")
    assert answer.returncode == 0, answer.stderr
    folders = sorted((tmp_path / "runs" / "s").glob("seed=*/"))
    assert [Result.read(f / "result.json").seed for f in folders] == [1, 2]
    for folder in folders:
        assert (folder / "train.log").read_text().count("student: 2 layers") == 1
        assert "student: 2 layers" in (folder / "console.log").read_text()
        assert (folder / "console.1.log").is_file() == (tasks == 2)


def test_a_further_process_that_fails_ends_the_job(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\n"
        "from distill_lab.objectives.hinton import Hinton\n"
        "class Mine(Hinton):\n"
        "    def forward(self, *given):\n"
        "        if os.environ['SLURM_PROCID'] == '1':\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return super().forward(*given)\n"
    )
    line = [*tiny(finetuned, rows_file), *QUICK, *TWO, "objective._target_=mine.Mine"]
    answer = sweep(tmp_path, *line, *SLURM, "hydra.launcher.tasks_per_node=2")
    assert answer.returncode == 1, answer.stderr
    (error,) = (tmp_path / "runs" / "s").glob("*/error.txt")
    assert not list(tmp_path.rglob("result.json")) and not queued(tmp_path)
    assert error.read_text().strip()


def test_what_cannot_be_started_is_refused_before_the_first_job(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), *QUICK, *SLURM]
    answer = sweep(tmp_path, *line, "hydra.launcher.tasks_per_node=2")
    assert answer.returncode == 2
    assert "tasks_per_node=2: needs trainer.devices=2, not 1" in answer.stderr
    answer = sweep(tmp_path, *line, "hydra.launcher.partition=nowhere")
    assert answer.returncode == 2 and "invalid partition specified: nowhere" in answer.stderr
    assert not queued(tmp_path)
