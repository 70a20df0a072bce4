"""What the jobs of a sweep are called, and which of them have been done."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_lab.launch.jobs import job_folder, job_name, varying, without_launching


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
