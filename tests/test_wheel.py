"""The built wheel, in an environment and a folder of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
OBJECTIVE = """
from distill_lab.objectives import Objective
from distill_lab.types import Term


class Squared(Objective):
    def forward(self, student, teacher, batch):
        distance = (student.logits - teacher.logits).square().sum()
        return {"squared": Term(distance, "rows", self.lam)}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`distill-lab` of a new environment that has the wheel, and our environment's libraries."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    # A plain path: the editable install's own .pth file is not followed from here.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin" / "distill-lab"


def test_configuration_travels_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in (ROOT / "conf").rglob("*.yaml"):
        assert f"distill_lab/conf/{file.relative_to(ROOT / 'conf')}" in names
    for file in (ROOT / "experiments").glob("*.yaml"):
        assert f"distill_lab/experiments/{file.name}" in names
    assert any(name.startswith("hydra_plugins/") for name in names)
    assert not any(name.startswith(("tests/", "runs/")) for name in names)


def test_the_installed_command_trains(command: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [command, "train", "trainer.max_steps=20", "teacher.epochs=1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "retention" in answer.stdout
    assert list(tmp_path.rglob("result.json"))


def test_a_users_own_objective_takes_one_py_and_one_yaml(command: Path, tmp_path: Path) -> None:
    (tmp_path / "squared.py").write_text(OBJECTIVE)
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    yaml = "_target_: squared.Squared\nlam: 1.0\n"
    (tmp_path / "mine" / "objective" / "squared.yaml").write_text(yaml)
    answer = subprocess.run(
        [command, "train", "--config-dir", "mine", "objective=squared", "trainer.max_steps=20",
         "teacher.epochs=1", "baseline=false"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "train/squared" in next(tmp_path.rglob("runs/**/metrics.csv")).read_text()
