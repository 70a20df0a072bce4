"""All jobs are looked at before the first; a dry run tells what a line would do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from distill_lab.hydra_entry import compose
from distill_lab.launch.forecast import Foreseen, Piece, foresee
from distill_lab.run import run
from tests.conftest import tiny
from tests.test_sweep import sweep


def pieces(found: Foreseen) -> dict[str, Piece]:
    return {piece.kind: piece for piece in found.pieces}


def test_what_is_there_is_told_from_what_is_to_be_made(
    encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(encoder, rows_file), f"store_dir={tmp_path}/store"]
    config, other = compose(*line, "objective.lam=1"), compose(*line, "seed=2")
    before, beside = (pieces(found) for found in foresee([config, other], pieces=True))
    assert [before[kind].stored for kind in ("teacher", "signals")] == [False, False]
    assert {kind for kind in before if before[kind].key == beside[kind].key} == {
        "teacher",
        "signals",
    }
    assert all(piece.seconds > 0 and piece.bytes > 0 for piece in before.values())
    run(config, tmp_path / "run")
    (after,) = (pieces(found) for found in foresee([config], pieces=True))
    assert after["teacher"].stored and after["signals"].stored
    kept = sum(f.stat().st_size for f in (tmp_path / "store" / "signals").rglob("*.safetensors"))
    assert 0.5 < after["signals"].bytes / kept < 2
    live = compose(*line, "teacher.cache=off")
    (without,) = (pieces(found) for found in foresee([live], pieces=True))
    assert after["student"].seconds == after["baseline"].seconds
    assert "signals" not in without
    assert without["student"].seconds > without["baseline"].seconds  # the teacher is asked too


def test_a_baseline_is_shared_by_objectives_but_not_by_students(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), f"store_dir={tmp_path}/store"]
    typed = [["objective.lam=1"], ["objective.lam=0.5"], ["student.num_layers=1"]]
    found = [pieces(each) for each in foresee([compose(*line, *t) for t in typed], pieces=True)]
    keys = [each["baseline"].key for each in found]
    assert keys[0] == keys[1] != keys[2]
    assert len({each["student"].key for each in found}) == 3
    assert "teacher" not in found[0]  # it is taken as it is


def test_all_members_of_an_ensemble_are_priced(
    finetuned: Path, encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    settings = [s for s in tiny(finetuned, rows_file) if not s.startswith("teacher.")]
    line = [*settings, f"store_dir={tmp_path}/store", "teacher=ensemble", "teacher.each.epochs=1"]
    one, two = (
        compose(*line, f"teacher.models=[{models}]")
        for models in (finetuned, f"{finetuned},{encoder}")
    )
    alone, both = (pieces(each) for each in foresee([one, two], pieces=True))
    assert both["signals"].seconds == pytest.approx(2 * alone["signals"].seconds, rel=0.8)
    assert both["signals"].seconds > alone["signals"].seconds
    assert "teacher" not in alone and both["teacher"].about.startswith("encoder")


def test_a_dry_run_tells_and_leaves_nothing(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "baseline=false", "trainer.max_steps=1", "study=mine"]
    first = sweep(tmp_path, *line, "seed=1,2", "launch.dry_run=true")
    assert first.returncode == 0, first.stderr
    assert not (tmp_path / "runs" / "mine").exists()
    assert "seed=1" in first.stdout and "students" in first.stdout
    assert sweep(tmp_path, *line, "seed=1,2").returncode == 0
    shutil.rmtree(tmp_path / "runs" / "mine" / "seed=2")
    again = sweep(tmp_path, *line, "seed=1,2", "launch.dry_run=true")
    told = {row[0]: row for row in map(str.split, again.stdout.splitlines()) if row}
    assert "finished" in told["1"] and told["2"] == ["2", "seed=2", "run"]
    assert (tmp_path / "runs" / "mine" / "seed=1" / "result.json").is_file()
    assert not (tmp_path / "runs" / "mine" / "seed=2").exists()
    file = tmp_path / "runs" / "mine" / "seed=1" / "result.json"
    content = json.loads(file.read_text())
    content["config"]["objective"]["lam"] = 0.123  # as if the yaml had said so
    file.write_text(json.dumps(content))
    changed = sweep(tmp_path, *line, "seed=1", "launch.dry_run=true")
    assert "its settings have changed" in changed.stdout


def test_a_model_that_does_not_fit_stops_a_sweep_before_its_first_job(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    answer = sweep(tmp_path, *tiny(finetuned, rows_file), "seed=1,2", "student.num_layers=9,1")
    assert answer.returncode == 2
    assert "student.num_layers=9: the teacher has 4 layers" in answer.stderr
    assert "(in 2 of 4 jobs, such as student.num_layers=9 seed=1)" in answer.stderr
    assert not list(tmp_path.glob("runs/*/*/"))
