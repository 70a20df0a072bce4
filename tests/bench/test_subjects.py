"""What is named to `bench`: runs, models, names of one's own; and what cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_lab.bench.asked import Asked
from distill_lab.bench.notes import notes
from distill_lab.bench.report import Report
from distill_lab.bench.show import bench
from distill_lab.bench.subjects import find, own_problem
from distill_lab.errors import UsageError
from tests.stacks import stack

FINE_TUNED = "distill_lab.teachers.FineTuned"


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, in the folder where something is typed."""
    shutil.copytree(finished / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def names(*typed: str, **more: Any) -> list[str]:
    found = find(typed, more.get("teacher", False), more.get("baseline", False))
    return [subject.name for subject in found.subjects]


def test_a_run_gives_its_student_and_what_is_asked_for(run: Path) -> None:
    assert names("run") == ["student"]
    found = find(["run"], True, True)
    assert [each.name for each in found.subjects] == ["teacher", "student", "baseline"]
    places = {each.name: each.path for each in found.subjects}
    result = json.loads((run / "result.json").read_text())
    assert places["student"] == "run/student"
    assert result["fingerprints"]["baseline"] in places["baseline"]
    assert all((Path(place) / "model.safetensors").is_file() for place in places.values())
    assert [each.owners for each in found.subjects] == [
        ((Path("run"), each.name),) for each in found.subjects
    ]


def test_runs_share_their_teacher(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    found = find(["run", "other"], True, False)
    assert [each.name for each in found.subjects] == ["teacher", "run", "other"]
    assert [folder for folder, _ in found.subjects[0].owners] == [Path("run"), Path("other")]
    assert [each.times for each in found.subjects] == [2, 1, 1]
    assert notes(found, [], Report()) == [
        "teacher (teacher of run, teacher of other): named 2 times, measured once"
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_a_teacher_that_is_named_as_well_keeps_that_name(run: Path, order: int) -> None:
    teacher = find(["run"], True, False).subjects[0].path
    found = find(["run", f"large={teacher}"][::order], True, False)
    owners = {each.name: each.owners for each in found.subjects}
    assert owners == {"large": ((Path("run"), "teacher"),), "student": ((Path("run"), "student"),)}


def test_folders_of_one_name_are_told_by_their_paths(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "more" / "run")
    assert names("run", "more/run") == ["run", "more/run"]


def test_a_run_beside_a_model_called_student_has_its_own_name(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "student", tmp_path / "student")
    found = find(["run", "student"], False, True)
    assert [each.name for each in found.subjects] == ["run", "run baseline", "student"]


def test_a_name_of_ones_own_and_a_folder_with_an_equals_sign(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "T=4,seed=1")
    assert names("mine=run/student", "T=4,seed=1/student") == ["mine", "student"]
    assert names("small=run", "T=4,seed=1") == ["small", "T=4,seed=1"]


def test_what_is_gone_is_told_and_the_student_stays(run: Path) -> None:
    found = find(["run"], False, True, Path("elsewhere"))
    assert [each.name for each in found.subjects] == ["student"]
    ((name, reason),) = found.left_out
    assert name == "baseline" and "not in the store any more" in reason and "--store-dir" in reason


def test_a_teacher_that_has_changed_is_gone(run: Path) -> None:
    file = run / "result.json"
    content = json.loads(file.read_text())
    content["fingerprints"]["teacher"] = "0" * 16
    file.write_text(json.dumps(content))
    found = find(["run"], True, False)
    assert [each.name for each in found.subjects] == ["student"]
    assert found.left_out[0][0] == "teacher" and "is not there any more" in found.left_out[0][1]


def test_an_ensemble_is_no_model(run: Path) -> None:
    file = run / "config.yaml"
    content = yaml.safe_load(file.read_text())
    recipe = {name: content["teacher"][name] for name in ("epochs", "lr")}
    models = {"models": ["a", "b"], "each": {"_target_": FINE_TUNED, **recipe, "model": "a"}}
    content["teacher"] = {"_target_": "distill_lab.teachers.Ensemble", **models}
    file.write_text(yaml.safe_dump(content))
    found = find(["run"], True, False)
    ((name, reason),) = found.left_out
    assert name == "teacher" and "an ensemble" in reason


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_model_says_itself_what_it_answers(kind: str, tmp_path: Path) -> None:
    stack(kind, num_labels=3).save_pretrained(tmp_path / "model")
    problem = own_problem(str(tmp_path / "model"))
    assert problem is not None and (problem.kind, problem.num_labels) == ("classification", 3)


def test_an_encoder_has_no_head(encoder: Path) -> None:
    assert own_problem(str(encoder)) is None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such folder": ({"typed": ["./nowhere"]}, "./nowhere: there is no such folder"),
    "neither here nor on the hub": ({"typed": ["nowhere"]}, "neither a folder here nor in the hub"),
    "no such run": ({"typed": ["x=empty/run"]}, "^empty/run: there is no such run or model$"),
    "a folder of something else": ({"typed": ["empty"]}, "empty: neither the folder of a finished"),
    "an exported folder": ({"typed": ["exported"]}, "exported from a run; measure the run"),
    "a study": ({"typed": ["."]}, "a study; name its runs, such as"),
    "a run without a student": ({"typed": ["bare"]}, "bare: the run has no student/ folder"),
    "a run that was pruned": ({"typed": ["pruned"]}, "pruned: the run was pruned"),
    "the same twice": ({"typed": ["run", "./run"]}, "named twice"),
    "two of a name": ({"typed": ["a=run", "a=bare"]}, "a=: two have this name"),
    "unknown form": ({"forms": ["onnxx"]}, "--forms=onnxx: choose among eager.*mean 'onnx'"),
    "no form": ({"forms": []}, "--forms: name at least one of eager"),
    "unknown device": ({"device": "gpu"}, "--device=gpu: choose among auto, cpu, cuda"),
    "a GPU that is not there": ({"device": "cuda"}, "--device=cuda: torch finds no GPU here"),
    "no repetitions": ({"repetitions": 0}, "--repetitions=0: at least 1 is needed"),
    "warm-up below 0": ({"warm_up": -1}, "--warm-up=-1: at least 0 is needed"),
    "no threads": ({"threads": 0}, "--threads=0: at least 1 is needed"),
    "batches of no rows": ({"batch_size": 0}, "--batch-size=0: at least 1 is needed"),
    "rows of no tokens": ({"lengths": [0]}, "--lengths=0: at least 1 is needed"),
    "two kinds of rows": ({"lengths": [8], "rows": Path("run")}, "--lengths, --rows: .* take one"),
    "rows of no run": ({"rows": Path("empty")}, "empty: not the folder of a finished run"),
    "held against nothing": ({"against": "studnet"}, "--against=studnet: .* mean 'student'"),
}


@pytest.mark.parametrize(("given", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_said_and_nothing_is_written(
    given: dict[str, Any], said: str, bad_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bad_folders)
    before = {path: path.read_bytes() for path in bad_folders.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=said):
        bench(Asked(**{"typed": ["run"], **given}), "table", recorded=True)
    assert {path: path.read_bytes() for path in bad_folders.rglob("*") if path.is_file()} == before


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UsageError) as told:
        Asked(["run"], repetitions=0, threads=0, device="gpu").check()
    assert len(str(told.value).splitlines()) == 3


def test_an_unknown_format_is_said_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match=r"--format=jsn: choose among table, json.*mean 'json'"):
        bench(Asked(["nowhere"]), "jsn", recorded=True)
