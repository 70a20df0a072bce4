"""Finding runs: none is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_lab.errors import DataError
from distill_lab.results.run_folder import what_there_is
from distill_lab.results.runs import collect, together
from tests.results.made import made, three


def test_failed_unfinished_and_damaged_runs_are_named(tmp_path: Path) -> None:
    made(tmp_path / "good", three(1, 0.8))
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "error.txt").write_text("Traceback\nthe disk is full\n")
    (tmp_path / "cut" / ".hydra").mkdir(parents=True)
    (tmp_path / "cut" / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "cut" / ".hydra" / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{")
    found = collect([tmp_path])
    assert [run.folder for run in found.results] == [tmp_path / "good"]
    assert found.failed == {tmp_path / "failed": "the disk is full"}
    assert found.unfinished == [tmp_path / "cut"]
    (damaged,) = found.damaged
    assert str(tmp_path / "broken" / "result.json") in damaged
    said = "\n".join(found.left_out())
    for word in ("failed, left out: 1", "the disk is full", "not finished, left out: 1", "broken"):
        assert word in said


@pytest.mark.parametrize("lacking", ["metrics", "rows", "cost"])
def test_a_result_that_lacks_its_numbers_is_damaged(tmp_path: Path, lacking: str) -> None:
    made(tmp_path / "good", three(1, 0.8))
    made(tmp_path / "bad", three(2, 0.8), seed=2)
    file = tmp_path / "bad" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), lacking: {"student": {}}}))
    found = collect([tmp_path])
    assert len(found.results) == 1 and len(found.damaged) == 1
    assert "bad/result.json: not a result of distill-lab" in found.damaged[0]


def test_a_result_beside_an_old_error_counts(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.8))
    (tmp_path / "run" / "error.txt").write_text("of an earlier try\n")
    assert collect([tmp_path]).failed == {}


def test_nothing_that_finished_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run is here"):
        collect([tmp_path])
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.yaml").touch()
    with pytest.raises(DataError, match=r"no finished run is here; 1 have not finished"):
        collect([tmp_path])
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "error.txt").write_text("no such file\n")
    with pytest.raises(DataError, match=r"1 failed, 1 have not finished; .*: no such file"):
        collect([tmp_path])
    (tmp_path / "cut" / "result.json").write_text("[]")
    with pytest.raises(DataError, match=r"cut/result\.json: not a result of distill-lab"):
        collect([tmp_path])
    with pytest.raises(DataError, match="there is no such run or study"):
        collect([tmp_path / "nowhere"])


def test_what_is_there_is_named_where_something_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert what_there_is(Path("nowhere")) == what_there_is(Path("/nowhere-at-all")) == ""
    monkeypatch.chdir(tmp_path)
    assert what_there_is(Path("nowhere")) == ""
    for name in ("first", "second", ".hidden"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for typed in ("nowhere", "runs/third", "other/first"):
        assert what_there_is(Path(typed)) == "; runs has first, second"
    assert what_there_is(Path("runs/frist/x")) == "; did you mean 'runs/first'?"
    for number in range(9):
        (tmp_path / "runs" / f"x{number}").mkdir()
    assert what_there_is(Path("runs/third")).endswith("x4, x5 and 3 more")


def test_many_failures_are_counted_and_some_are_named(tmp_path: Path) -> None:
    made(tmp_path / "good", three(1, 0.8))
    for number in range(6):
        (tmp_path / f"failed{number}").mkdir()
        (tmp_path / f"failed{number}" / "error.txt").write_text("why\n")
    lines = collect([tmp_path]).left_out()
    assert lines[0] == "runs that failed, left out: 6" and lines[-1] == "  and 3 more"


def test_folders_of_a_run_are_not_looked_into(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.8))
    (tmp_path / "run" / "student").mkdir()
    (tmp_path / "run" / "student" / "config.yaml").touch()
    assert collect([tmp_path]).unfinished == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"task": "rte"}, "another task"),
        ({"metric": "f1", "metrics": {"teacher": {"f1": 0.5}, "student": {"f1": 0.5}}},
         "other metrics"),
        ({"fingerprints": {"evaluation": "other", "tokenizer": "t", "teacher": "x"}},
         "other evaluation rows"),
        ({"fingerprints": {"evaluation": "e", "tokenizer": "other", "teacher": "x"}},
         "another tokeniser"),
        ({"fingerprints": {"evaluation": "e", "tokenizer": "t", "teacher": "other"}},
         "another teacher"),
        ({"choices": {"student": "layers_3"}}, "another student architecture"),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_compared_are_apart_with_the_reason(
    tmp_path: Path, change: dict[str, object], why: str
) -> None:
    runs = [made(tmp_path / "a", three(1, 0.8)), made(tmp_path / "b", three(2, 0.8), seed=2)]
    other = made(tmp_path / "c", three(1, 0.8), **change)
    first, second = together([*runs, other])
    assert first.results == runs and first.apart == ()
    assert second.results == [other] and second.apart == (why,)
