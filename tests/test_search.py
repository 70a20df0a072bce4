"""`hydra/sweeper=optuna` as it is typed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from distill_lab.hydra_entry import _named_sweep
from distill_lab.results import Result
from tests.conftest import tiny

SPACE = ["objective=hinton,mse_logits", "objective.temperature=interval(1,8)",
         "optim.lr=tag(log,interval(1e-7,1e-2))"]  # fmt: skip


def train(folder: Path, *line: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line], env={**os.environ, **(env or {})},
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return answer.returncode, answer.stdout, answer.stderr


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_killed_gone_on_with_pruned_and_used(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    base = [*tiny(finetuned, rows_file), "trainer.max_epochs=2"]
    line = [*base, "study=mine", "hydra/sweeper=optuna", *SPACE, "hydra.sweeper.n_trials=6",
            "hydra.sweeper.pruner.n_startup_trials=1", "callbacks.checkpoint.mode=max"]  # fmt: skip
    study = tmp_path / "runs" / "mine"
    started = subprocess.Popen(
        [sys.executable, "-m", "distill_lab", "train", "-m", *line],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while len(list(study.glob("*/result.json"))) < 2 and started.poll() is None:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    before = {file: file.stat().st_mtime_ns for file in study.glob("*/result.json")}
    assert 2 <= len(before) < 6
    code, told, errors = train(tmp_path, "-m", *line)
    assert code == 0, errors
    found = rows(study)
    assert len(found) == 6 and {row["state"] for row in found} == {"finished", "pruned"}
    assert {file: file.stat().st_mtime_ns for file in before} == before
    for row in found:
        result = Result.read(study / row["folders"] / "result.json")
        assert result.status == row["state"]
        if row["metric"]:
            assert float(row["metric"]) == result.cost["student"]["selection"]
    command = next(t for t in told.splitlines() if "experiments=best" in t).split(": ")[1]
    code, told, errors = train(tmp_path, *command.split()[2:])
    assert code == 0, errors
    used = Result.read(next((tmp_path / "runs" / "mine-best").glob("*/result.json")))
    top = max((row for row in found if row["metric"]), key=lambda row: float(row["metric"]))
    assert used.choices["objective"] == top["objective"]
    assert used.config["optim"]["lr"] == float(top["optim.lr"])
    assert used.cost["student"]["selection"] == float(top["metric"])
    code, told, errors = train(tmp_path, "-m", *line)
    assert code == 0 and {f: f.stat().st_mtime_ns for f in before} == before


def test_optuna_is_asked_for_where_it_is_absent(tmp_path: Path) -> None:
    """In a process that cannot see it, as an environment without the extra."""
    hide = (
        "import importlib.metadata as m, sys; old = m.version\n"
        "def version(name):\n"
        "    if name == 'optuna': raise m.PackageNotFoundError(name)\n"
        "    return old(name)\n"
        "m.version = version; sys.modules['optuna'] = None\n"
    )
    (tmp_path / "sitecustomize.py").write_text(hide)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    line = ["-m", "hydra/sweeper=optuna", "objective.lam=interval(0,1)"]
    code, _, errors = train(tmp_path, *line, env={"PYTHONPATH": path})
    assert code == 2 and "Traceback" not in errors
    assert "Optuna is not installed; pip install 'distill-lab[optuna]'" in errors
    code, told, errors = train(tmp_path, "--cfg", "job", env={"PYTHONPATH": path})
    assert code == 0 and "distill_lab.callbacks.Pruning" in told, errors


def test_an_interval_without_a_search_is_told(tmp_path: Path) -> None:
    code, _, errors = train(tmp_path, "-m", "objective.lam=interval(0,1)")
    assert code == 2 and "type -m hydra/sweeper=optuna too" in errors


def test_the_plugin_does_not_import_optuna() -> None:
    look = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance();"
        "assert 'hydra_plugins.distill_lab_optuna.optuna_sweeper' in sys.modules;"
        "print([m for m in ('optuna', 'torch', 'distill_lab.search') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_overlay_below_the_best_one_and_a_folder_of_ones_own(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "own" / "objective").mkdir(parents=True)
    text = "_target_: distill_lab.objectives.hinton.Hinton\ntemperature: 2.0\nlam: 0.5\n"
    (tmp_path / "own" / "objective" / "mine.yaml").write_text(text)
    (tmp_path / "experiments").mkdir()
    chosen = [{"override /objective": "dkd"}, {"override /hydra/sweeper": "optuna"}]
    space = {"objective.lam": "interval(0.25,0.75)"}
    overlay = {"defaults": chosen, "hydra": {"sweeper": {"params": space}}}
    content = "# @package _global_\n" + yaml.safe_dump(overlay)
    (tmp_path / "experiments" / "base.yaml").write_text(content)
    base = [t for t in tiny(finetuned, rows_file) if not t.startswith(("student", "optim"))]
    line = [*base, "hydra.sweeper.n_trials=1", "objective=mine",
            "experiments=base", "study=x", "~callbacks.progress", "student=layers",
            "student.num_layers=2"]  # fmt: skip
    code, told, errors = train(tmp_path, "-m", "--config-dir", "own", *line)
    assert code == 0, errors
    command = told.rsplit("best.yaml: distill-lab train ")[1].strip()
    shown = subprocess.run(
        f"{sys.executable} -m distill_lab train {command} --cfg job", shell=True,
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = yaml.safe_load(shown.stdout)
    ran = yaml.safe_load(next(tmp_path.glob("runs/x/*/config.yaml")).read_text())
    assert 0.25 <= config["objective"]["lam"] <= 0.75 and config["student"]["num_layers"] == 2
    assert "progress" not in config["callbacks"]
    for group in ("objective", "student", "task", "teacher"):
        assert config[group] == ran[group]


def test_more_trials_do_not_make_another_study() -> None:
    line = ["-m", "hydra/sweeper=optuna", "objective.lam=interval(0,1)"]
    first, more, other = (
        _named_sweep([*line, *last])[1]
        for last in ([], ["hydra.sweeper.n_trials=40", "hydra.launcher.n_jobs=2"], ["seed=2"])
    )
    assert first == more != other
