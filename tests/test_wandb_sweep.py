"""The sweep of docs/wandb.md, expanded as W&B's agent does and composed as Hydra does."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command
from wandb.wandb_agent import Agent

from distill_lab.hydra_entry import compose

PAGE = Path(__file__).parents[1] / "docs" / "wandb.md"


def recipe() -> dict[str, Any]:
    """The page's sweep.yaml."""
    (text,) = re.findall(r"```yaml\n(# sweep\.yaml\n.*?)```", PAGE.read_text("utf-8"), re.S)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def typed(sweep: dict[str, Any], drawn: dict[str, Any], monkeypatch: Any, work: Path) -> list[str]:
    """What W&B's own agent types for a job; only the process itself is not started."""
    lines: list[list[str]] = []

    class Started:
        def __init__(self, command: list[str], **_: Any) -> None:
            lines.append(command)

    monkeypatch.setattr("wandb.wandb_agent.AgentProcess", Started)
    monkeypatch.chdir(work)
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SWEEP_ID"):
        monkeypatch.setenv(name, "a")
    agent = Agent.__new__(Agent)
    agent._sweep_command = copy.deepcopy(sweep["command"])
    agent._function, agent._in_jupyter = None, False
    agent._forward_signals, agent._run_processes = False, {}
    args = {key: {"value": value} for key, value in drawn.items()}
    agent._command_run({"args": args, "run_id": "a", "program": sweep["program"]})
    return lines[0]


def test_every_job_of_the_grid_composes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = recipe()
    assert sweep["method"] == "grid" and create_sweep_command(list(sweep["command"]))
    keys = list(sweep["parameters"])
    values = [sweep["parameters"][key]["values"] for key in keys]
    for place in list(product(*values))[::5]:  # each value of each key is among them
        drawn = dict(zip(keys, place, strict=True))
        line = typed(sweep, drawn, monkeypatch, tmp_path)
        assert line[:2] == ["distill-lab", "train"] and not any("$" in part for part in line)
        config = compose(*line[2:])
        assert config.objective["temperature"] == drawn["objective.temperature"]
        assert config.objective["lam"] == drawn["objective.lam"]
        assert config.seed == drawn["seed"]
        assert config.study == "sst2_by_wandb" and "wandb" in config.logger


def test_the_metric_is_one_that_is_logged() -> None:
    """On the split that chooses, never on the one that is reported."""
    sweep = recipe()
    task = next(part for part in sweep["command"] if part.startswith("task="))
    split, _, metric = sweep["metric"]["name"].partition("/")
    assert split == "selection" and metric == compose(task).task["metrics"][0]


def test_the_line_itself_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = recipe()
    drawn = {"objective.temperature": 4, "objective.lam": 0.75, "seed": 2}
    line = typed(sweep, drawn, monkeypatch, tmp_path)
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", *line[1:], "--cfg", "job"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    composed = yaml.safe_load(answer.stdout)
    assert composed["objective"]["lam"] == 0.75 and composed["seed"] == 2
