"""Sweeps on clusters behave as on one machine: looked at, skipped when finished, told about."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from distill_lab.launch.commands import run_command
from distill_lab.results import Result
from tests.conftest import tiny
from tests.test_sweep import sweep

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "slurm": ["hydra/launcher=slurm", "hydra.launcher.cluster=local"],
    "ray": ["hydra/launcher=ray", "hydra.launcher.num_cpus=1"],
}
LIBRARIES = {"joblib": "joblib", "slurm": "submitit", "ray": "ray"}


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> list[str]:
    library = LIBRARIES[request.param]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; `make cluster-test` installs it")
    return LAUNCHERS[request.param]


@pytest.mark.slow
def test_jobs_share_a_store_fail_alone_and_are_skipped_when_finished(
    launcher: list[str], encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(encoder, rows_file), "study=s", "seed=1,2", "teacher.min_over_chance=0,0.9"]
    answer = sweep(tmp_path, *line, *launcher)
    assert answer.returncode == 1, answer.stderr
    assert "2 of 4 jobs failed; each has its error.txt" in answer.stderr
    assert "Traceback" not in answer.stderr
    done = [tmp_path / "runs" / "s" / f"seed={n},teacher.min_over_chance=0" for n in (1, 2)]
    results = [Result.read(folder / "result.json") for folder in done]
    assert [result.seed for result in results] == [1, 2]
    assert all("student: 2 layers" in (folder / "console.log").read_text() for folder in done)
    for kind in ("teachers", "signals"):
        assert len(list((tmp_path / "store" / kind).glob("*/"))) == 1
    failed = sorted((tmp_path / "runs" / "s").glob("*=0.9"))
    assert all("nothing to distil" in (f / "error.txt").read_text() for f in failed)
    stamps = [(folder / "result.json").stat().st_mtime_ns for folder in done]
    again = sweep(tmp_path, *line, *launcher)
    assert "2 of 4 jobs are finished already" in again.stderr
    assert [(folder / "result.json").stat().st_mtime_ns for folder in done] == stamps


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_library_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = LIBRARIES[name]
    (tmp_path / f"{library}.py").write_text("raise ImportError('as if it were not installed')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}")
    answer = sweep(tmp_path, "seed=1,2", *LAUNCHERS[name])
    assert answer.returncode == 2
    assert answer.stderr == (
        f"distill-lab: hydra/launcher={name}: {library} is not installed;"
        f" pip install 'distill-lab[{name}]'\n"
    )


def test_a_machine_without_slurm_is_told(
    tmp_path: Path, finetuned: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed; `make cluster-test` installs it")
    monkeypatch.setenv("PATH", str(tmp_path))  # without srun
    answer = sweep(tmp_path, *tiny(finetuned, rows_file), "seed=1,2", "hydra/launcher=slurm")
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1] == (
        "distill-lab: hydra/launcher=slurm: there is no Slurm on this machine; type the line on the"
        " cluster's login node, or take hydra.launcher.cluster=local"
    )
    assert "Traceback" not in answer.stderr and not list(tmp_path.rglob("result.json"))


def test_a_job_runs_as_a_command_in_the_folder_that_is_named(tmp_path: Path) -> None:
    code = run_command(["--cfg", "job", "seed=7"], str(tmp_path), "a/console.log", 0.0)
    assert code == 0 and "seed: 7" in (tmp_path / "a" / "console.log").read_text()
    assert run_command(["seed=x"], str(tmp_path), "a/console.log", 0.0) == 2
