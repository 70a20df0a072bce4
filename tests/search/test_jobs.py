"""A trial's jobs: the same settings, the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from distill_lab.errors import DataError
from distill_lab.launch.jobs import own
from distill_lab.search.jobs import Job


def test_hydras_own_keys_name_the_folder_and_the_trial_and_nothing_else(tmp_path: Path) -> None:
    told = f"7@{tmp_path}/it's here/optuna.log"
    job = Job.of(tmp_path, ["optim.lr=1e-3"], ["objective=dkd", "seed=2"], told)
    assert job.folder == tmp_path / "objective=dkd,seed=2"
    assert own(job.line) == list(job.overrides) == ["optim.lr=1e-3", "objective=dkd", "seed=2"]
    parsed = OverridesParser.create().parse_overrides(job.line[3:])
    values = {override.key_or_group: override.value() for override in parsed}
    assert values == {
        "hydra.sweep.subdir": job.folder.name, "hydra.job.env_set.DISTILL_LAB_TRIAL": told,
    }  # fmt: skip
    assert own(["+hydra.x=1", "hydra/launcher=ray", "~hydra.y", "hydraulics=1"]) == ["hydraulics=1"]


def test_another_lines_job_keeps_its_folder(tmp_path: Path) -> None:
    (tmp_path / "seed=2" / ".hydra").mkdir(parents=True)
    (tmp_path / "seed=2" / ".hydra" / "overrides.yaml").write_text("- optim.lr=5\n- seed=2\n")
    assert Job.of(tmp_path, ["optim.lr=5"], ["seed=2"]).folder.name == "seed=2"
    assert Job.of(tmp_path, ["optim.lr=6"], ["seed=2"]).folder.name.startswith("seed=2-")


def test_what_a_job_left(tmp_path: Path) -> None:
    job = Job.of(tmp_path, [], ["seed=2"])
    with pytest.raises(DataError, match="neither a result nor an error"):
        job.result()
    job.folder.mkdir()
    (job.folder / "error.txt").write_text("Traceback\n  ...\nValueError: no\n")
    with pytest.raises(DataError, match=r"^ValueError: no$"):
        job.result()
    (job.folder / "result.json").write_text('{"status": "fini')
    with pytest.raises(DataError, match="not a result of distill-lab; delete it"):
        job.result()
    assert not job.finished
    (job.folder / "result.json").write_text('{"status": "pruned"}')
    assert not job.finished and job.result() == {"status": "pruned"}
    (job.folder / "result.json").write_text('{"status": "finished"}')
    assert job.finished
