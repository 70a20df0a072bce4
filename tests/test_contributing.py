"""What CONTRIBUTING.md says of an objective and a task of one's own is done, word for word."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tiny

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language; the first line of a file names it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files, each under the name in its first comment that is a path."""
    for content in [*blocks("python"), *blocks("yaml")]:
        name = re.search(r"^# (\S+\.(?:py|yaml))$", content, re.MULTILINE)
        assert name is not None
        (tmp_path / name[1]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name[1]).write_text(content, encoding="utf-8")
    return tmp_path


def typed(name: str) -> list[str]:
    """The page's line, with another objective."""
    line = next(block for block in blocks("") if "--config-dir" in block)
    program, *words = shlex.split(line)
    assert program == "distill-lab" and words[-1] == "objective=squared"
    return [*words[:-1], f"objective={name}"]


@pytest.mark.parametrize(("name", "term"), [("squared", "squared"), ("states", "states_weighted")])
def test_an_objective_in_ones_own_folder_takes_one_py_and_one_yaml(
    name: str, term: str, folder: Path, finetuned: Path, rows_file: Path
) -> None:
    settings = [s for s in tiny(finetuned, rows_file) if not s.startswith("objective")]
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", *typed(name), *settings, "baseline=false"],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    result = json.loads(next(folder.rglob("result.json")).read_text())
    assert result["choices"]["objective"] == name
    curves = next(folder.rglob("metrics.csv")).read_text().splitlines()[0]
    assert f"train/{term}" in curves


def test_a_task_in_ones_own_folder_takes_one_yaml(folder: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", "--config-dir", "conf_of_mine",
         "task=reviews", "--cfg", "job"],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    for line in ("train_file: reviews.csv", "teacher: bert-base-uncased", "teacher_lr: 3.0e-05"):
        assert line in answer.stdout
    assert "teacher_epochs: 3" in answer.stdout  # of the yaml that it goes over
