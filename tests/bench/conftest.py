"""Folders that the tests of `bench` share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from distill_lab.hydra_entry import compose
from distill_lab.run import run
from tests.conftest import tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, finetuned: Path, rows_file: Path) -> Path:
    """A folder with `run/`, a finished run, and its `store/`."""
    place = tmp_path_factory.mktemp("bench")
    overrides = [*tiny(finetuned, rows_file), f"store_dir={place}/store", "trainer.max_steps=1"]
    run(compose(*overrides), place / "run")
    return place


@pytest.fixture
def bad_folders(finished: Path, tmp_path: Path) -> Path:
    """A folder with a good run and several that cannot be measured."""
    for name in ("run", "bare", "pruned"):
        shutil.copytree(finished / "run", tmp_path / name)
    for name in ("empty", "exported"):
        (tmp_path / name).mkdir()
    (tmp_path / "exported" / "run.json").write_text("{}")
    shutil.rmtree(tmp_path / "bare" / "student")
    file = tmp_path / "pruned" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "pruned"}))
    return tmp_path
