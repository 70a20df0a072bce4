"""Sweeps: one folder and one process a job; finished jobs are skipped, failed ones told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distill_lab.hydra_entry import _named_sweep
from distill_lab.results import Result
from hydra_plugins.distill_lab_launcher.process_launcher import _Clock, job_folder, job_name
from tests.conftest import tiny
from tests.wandb_file import offline_runs


def sweep(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", "-m", *line],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_two_jobs_then_nothing_left_to_do(finetuned: Path, rows_file: Path, tmp_path: Path) -> None:
    line = [*tiny(finetuned, rows_file), "study=mine", "logger=wandb", "objective.lam=0,1"]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 0, answer.stderr
    folders = sorted((tmp_path / "runs" / "mine").glob("*/"))
    assert [f.name for f in folders] == ["objective.lam=0", "objective.lam=1"]
    results = [Result.read(folder / "result.json") for folder in folders]
    assert [r.config["objective"]["lam"] for r in results] == [0, 1]
    assert results[0].metrics["student"] == results[0].metrics["baseline"]
    assert "objective.lam=0" in results[0].overrides
    runs = [offline_runs(folder) for folder in folders]
    assert [len(r) for r in runs] == [1, 1] and runs[0][0]["id"] != runs[1][0]["id"]
    assert {r[0]["group"] for r in runs} == {"mine"}
    stamps = [(folder / "result.json").stat().st_mtime_ns for folder in folders]
    again = sweep(tmp_path, *line)
    assert again.returncode == 0 and again.stderr.count("finished before") == 2
    assert [(folder / "result.json").stat().st_mtime_ns for folder in folders] == stamps
    table = subprocess.run(
        [sys.executable, "-m", "distill_lab", "compare", "runs/mine"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "teacher" in table and "baseline" in table and table.count("student ") >= 2


def test_a_failed_job_does_not_stop_the_others(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "baseline=false", "student.num_layers=9,1"]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 1
    assert "1 of 2 jobs failed" in answer.stderr and "Traceback" not in answer.stderr
    (study,) = (tmp_path / "runs").iterdir()
    assert study.name.startswith("sweep-")
    failed = study / "student.num_layers=9"
    assert "the teacher has 4 layers" in (failed / "error.txt").read_text()
    assert not (failed / "result.json").exists()
    assert (study / "student.num_layers=1" / "result.json").is_file()


def test_a_wrong_value_of_one_job_stops_a_sweep_before_its_first(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "seed=1,2", "objective.lam=0,1.5", "optim.lr=0"]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    said = [line for line in answer.stderr.splitlines() if line.startswith("distill-lab: ")]
    assert len(said) == 2
    assert said[0].endswith("optim.lr=0: the learning rate must be above 0")
    assert "objective.lam=1.5: lam weighs" in said[1]
    assert "(in 2 of 4 jobs, such as seed=1 objective.lam=1.5)" in said[1]
    assert not list(tmp_path.glob("runs/*/*/")) and not (tmp_path / "store").exists()


def test_the_time_left_is_told_from_the_jobs_that_ran() -> None:
    clock = _Clock(4)
    clock.taken = [600]
    assert clock.left(2) == ""
    clock.taken = [600, 60, 120, 120]
    assert clock.left(3) == " (about 4 minutes left)"


def test_an_unknown_key_stops_a_sweep_before_its_first_job(tmp_path: Path) -> None:
    answer = sweep(tmp_path, "objectiv.lam=0,1")
    assert answer.returncode == 2
    assert "did you mean 'objective'" in answer.stderr
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["seed=1", "objective.lam=0.5"], "seed=1,objective.lam=0.5"),
        (["task=glue/sst2", "+trainer.x=1"], "task=glue_sst2,trainer.x=1"),
        (["student.select=[0,2]"], "student.select=_0_2_"),
    ],
)
def test_jobs_are_named_by_their_overrides(overrides: list[str], expected: str) -> None:
    assert job_name(overrides) == expected


def test_long_names_stay_distinct() -> None:
    long = [f"key{i}=value" for i in range(30)]
    one, two = job_name([*long, "a=1"]), job_name([*long, "a=2"])
    assert one != two and max(len(one), len(two)) <= 120


def test_another_line_does_not_write_over_a_job(tmp_path: Path) -> None:
    names, first, second = ["seed=1"], ["seed=1"], ["seed=1", "objective.lam=0.9"]
    assert job_folder(tmp_path, names, first) == tmp_path / "seed=1"
    (tmp_path / "seed=1" / ".hydra").mkdir(parents=True)
    (tmp_path / "seed=1" / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    assert job_folder(tmp_path, names, first) == tmp_path / "seed=1"
    typed = "- seed=1\n- study=x/${task.name}\n"
    (tmp_path / "b" / ".hydra").mkdir(parents=True)
    (tmp_path / "b" / ".hydra" / "overrides.yaml").write_text(typed)
    named = ["seed=1", "study=x/${task.name}"]
    assert job_folder(tmp_path, ["b"], named) == tmp_path / "b"
    other = job_folder(tmp_path, names, second)
    assert other.name.startswith("seed=1-") and other == job_folder(tmp_path, names, second[::-1])


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        (["-m", "seed=1,2"], 1),
        (["--config-dir", "mine", "seed=1,2", "-m"], 2),
        (["-m", "--config-dir=mine"], 2),
    ],
)
def test_a_sweep_without_a_name_gets_one_beside_its_overrides(typed: list[str], place: int) -> None:
    named = _named_sweep(typed)
    assert named[place].startswith("study=sweep-") and named[:place] + named[place + 1 :] == typed
    assert _named_sweep(typed)[place] == named[place]


@pytest.mark.parametrize("typed", [["seed=1"], ["-m", "study=a"], ["-m", "experiments=b"]])
def test_other_lines_keep_the_name_they_have(typed: list[str]) -> None:
    assert _named_sweep(typed) == typed
