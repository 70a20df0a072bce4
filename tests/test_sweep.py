"""Sweeps: one folder and one process a job; finished jobs are skipped, failed ones told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill_lab.hydra_entry import _multirun_first, _named_sweep
from distill_lab.results import Result
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
    assert again.returncode == 0 and "2 of 2 jobs are finished already" in again.stderr
    assert [(folder / "result.json").stat().st_mtime_ns for folder in folders] == stamps
    table = subprocess.run(
        [sys.executable, "-m", "distill_lab", "compare", "runs/mine"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "teacher" in table and "baseline" in table and table.count("student ") >= 2


def test_a_failed_job_does_not_stop_the_others(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "baseline=false", "teacher.min_over_chance=0.9,0"]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 1
    assert "1 of 2 jobs failed" in answer.stderr and "Traceback" not in answer.stderr
    assert "Failed" in answer.stdout and "teacher.min_over_chance=0.9" in answer.stdout
    (study,) = (tmp_path / "runs").iterdir()
    assert study.name.startswith("sweep-")
    failed = study / "teacher.min_over_chance=0.9"
    assert "there is nothing to distil" in (failed / "error.txt").read_text()
    assert not (failed / "result.json").exists()
    assert (study / "teacher.min_over_chance=0" / "result.json").is_file()


def test_a_wrong_value_of_one_job_stops_a_sweep_before_its_first(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "seed=1,2", "objective.lam=0,1.5", "optim.lr=0"]
    line = [a for a in line if a == "optim.lr=0" or not a.startswith("optim.lr=")]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    said = [line for line in answer.stderr.splitlines() if line.startswith("distill-lab: ")]
    assert len(said) == 2
    assert said[0].endswith("optim.lr=0: the learning rate must be above 0")
    assert "objective.lam=1.5: lam weighs" in said[1]
    assert "(in 2 of 4 jobs, such as seed=1 objective.lam=1.5)" in said[1]
    assert not list(tmp_path.glob("runs/*/*/")) and not (tmp_path / "store").exists()


def test_choices_that_a_pattern_finds_are_left_out_where_they_do_not_fit(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "baseline=false", "launch.dry_run=true"]
    found = sweep(tmp_path, *line, "objective=glob(s*)", "seed=1,2")
    assert found.returncode == 0, found.stderr
    (said,) = [each for each in found.stderr.splitlines() if "left out" in each]
    assert "objective=sequence seed=1, objective=sequence seed=2" in said
    assert "has answers" in said or "writes" in said, said
    jobs = found.stdout.split("To compute")[0]
    assert "objective=skew_kl seed=2" in jobs and "sequence" not in jobs
    assert re.findall(r"^ *(\d+) +objective", jobs, re.MULTILINE) == ["1", "2"]  # none is missing

    named = sweep(tmp_path, *line, "objective=sequence,skew_kl")
    assert named.returncode == 2 and "objective=sequence" in named.stderr


def test_a_wrong_value_beside_a_pattern_stops_a_sweep(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "objective=glob(h*)", "objective.lam=0.5,1.5"]
    answer = sweep(tmp_path, *line)
    assert answer.returncode == 2 and "objective.lam=1.5: lam weighs" in answer.stderr
    assert "left out" not in answer.stderr
    nothing = sweep(tmp_path, *tiny(finetuned, rows_file), "objective=glob(sequenc*)")
    assert nothing.returncode == 2 and "left out" not in nothing.stderr


def test_an_unknown_key_stops_a_sweep_before_its_first_job(tmp_path: Path) -> None:
    answer = sweep(tmp_path, "objectiv.lam=0,1")
    assert answer.returncode == 2
    assert "did you mean 'objective.lam'" in answer.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_jobs_are_what_the_line_composes_and_are_found_by_it(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    """Of a configuration of the user's own, in a line that grows, after a value has changed."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "other.yaml").write_text("defaults: [train, _self_]\nbaseline: false\n")
    typed = ["--config-dir=own", "--config-name=other", *tiny(finetuned, rows_file)]
    line = [*typed, "study=s", "trainer.max_steps=2", "seed=1,1"]
    assert (answer := sweep(tmp_path, *line, "objective.lam=0.5")).returncode == 0, answer.stderr
    (file,) = tmp_path.glob("runs/s/*/result.json")
    assert Result.read(file).config["baseline"] is False
    stamp = file.stat().st_mtime_ns

    longer = sweep(tmp_path, *line, "objective.lam=0.5,0.9")
    assert longer.returncode == 0 and "1 of 2 jobs are finished already" in longer.stderr
    assert file.stat().st_mtime_ns == stamp
    assert len(list(tmp_path.glob("runs/s/*/result.json"))) == 2

    with (own / "other.yaml").open("a") as other:
        other.write("objective: {temperature: 3}\n")
    again = sweep(tmp_path, *line, "objective.lam=0.5,0.9")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("other values of objective.temperature than its result") == 2
    temperatures = {
        Result.read(f).config["objective"]["temperature"]
        for f in tmp_path.glob("runs/s/*/result.json")
    }
    assert temperatures == {3}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["hydra/launcher=slrm"], "hydra/launcher=slrm: there is no such choice; did you mean"),
        (["hydra/sweeper=foo"], "(there are optuna)"),
        (["logger=null"], "logger=null: name a choice (there are csv, "),
    ],
)
def test_a_mistyped_choice_is_told_with_those_there_are(
    typed: list[str], said: str, tmp_path: Path
) -> None:
    answer = sweep(tmp_path, "seed=1,2", *typed)
    assert answer.returncode == 2 and said in answer.stderr
    assert "Traceback" not in answer.stderr and "provider" not in answer.stderr


def test_multirun_may_stand_among_the_overrides() -> None:
    assert _multirun_first(["a=1", "-m", "b=2"]) == ["-m", "a=1", "b=2"]
    assert _multirun_first(["a=1"]) == ["a=1"]


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
