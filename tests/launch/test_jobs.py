"""What the jobs of a sweep are called, and which of them have been done."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock
from omegaconf import DictConfig

from distill_lab import __version__
from distill_lab.config import Config
from distill_lab.launch import jobs
from distill_lab.launch.folder_lock import BUSY, settled
from distill_lab.launch.jobs import (
    Job,
    Places,
    job_folder,
    job_name,
    varying,
    without_launching,
)


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


def test_what_concerns_launching_makes_no_other_job() -> None:
    typed = ["seed=1", "launch.dry_run=true", "++launch.dry_run=true", "launcher=x"]
    assert without_launching(typed) == ["seed=1", "launcher=x"]


def test_what_all_jobs_share_is_not_in_their_names() -> None:
    assert varying([["a=1", "b=1"], ["a=1", "b=2"]]) == {"b=1", "b=2"}
    assert varying([["a=1"]]) == set()


def typed(folder: Path, *overrides: str) -> Path:
    """A folder in which a job with these overrides has been run."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in overrides))
    return folder


def test_a_job_is_found_whatever_line_it_was_typed_in(tmp_path: Path) -> None:
    before = typed(tmp_path / "seed=1", "objective.lam=0.5", "seed=1")
    places = Places(tmp_path)
    assert places.of(["objective.lam=0.5", "seed=1"], ["seed=1", "objective.lam=0.5"]) == before
    assert places.of(["seed=1"], ["seed=1", "objective.lam=0.9"]).name.startswith("seed=1-")


def test_jobs_of_one_line_whose_names_are_alike_have_folders_of_their_own(tmp_path: Path) -> None:
    line = (["task=a/b"], ["task=a_b"])
    first, second = (places.of(o, o) for places in [Places(tmp_path)] for o in line)
    assert first.name == "task=a_b" and second.name.startswith("task=a_b-")
    typed(first, *line[0])
    assert [Places(tmp_path).of(o, o) for o in line] == [first, second]


def job(folder: Path, since: float = 0.0) -> Job:
    return Job(1, ("seed=1",), ("seed=1",), folder, (), DictConfig({}), since)


def test_what_computes_and_differs_from_the_result_is_told(tmp_path: Path) -> None:
    now = Config(objective={"lam": 0.5, "new": 1}, trainer={"x": [1, 2]}, store_dir="here")
    objective = {"lam": 0.7, "old": 2}
    other = {"store_dir": "there", "study": "other", "seed": 2}
    before = asdict(Config(objective=objective, trainer={"x": [1, 2]}, **other))  # type: ignore[arg-type]
    for version, new in (("0.0.9", []), (__version__, ["objective.new", "objective.old"])):
        content = {"config": before, "versions": {"distill-lab": version}}
        (tmp_path / "result.json").write_text(json.dumps(content))
        assert job(tmp_path).changed(now) == ["objective.lam", *new, "seed"]


def test_a_job_without_a_result_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LATE", 0.0)
    assert not job(tmp_path).left_result()
    (tmp_path / "result.json").touch()
    assert job(tmp_path).left_result()


def test_the_last_words_of_a_job_that_could_not_begin_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("x\ndistill-lab: task=a: no\ndistill-lab: b: no\n")
    assert job(tmp_path).last_words() == "b: no"
    assert job(tmp_path, since=time.time() + 10).last_words() == ""


def test_a_job_that_another_line_has_finished_meanwhile_is_settled(tmp_path: Path) -> None:
    now = time.time()
    assert settled(tmp_path, now) is None
    (tmp_path / "result.json").touch()
    assert settled(tmp_path, now - 10) == 0
    assert settled(tmp_path, now + 10) is None  # a result of earlier, which is to be made again
    lock = FileLock(tmp_path / ".lock")
    with lock:
        assert settled(tmp_path, now - 10) == BUSY
