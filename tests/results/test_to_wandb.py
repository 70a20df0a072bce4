"""A study's comparison in W&B, read back from its offline file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_lab.errors import UsageError
from distill_lab.results.compare import comparisons
from distill_lab.results.runs import collect
from distill_lab.verbs.report import main
from tests.results.made_study import make_study
from tests.wandb_file import offline_runs


def test_table_map_and_front_are_objects_of_wandb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "study", bench=True)
    assert main([str(study), "--wandb", "papers"]) == 0
    (run,) = offline_runs(study)
    assert (run["project"], run["group"], run["job_type"]) == ("papers", "made", "report")
    assert run["exit"] == 0
    (folder,) = (study / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in capsys.readouterr().out
    summary = run["summary"]
    assert summary["comparison/_type"] == "table-file"
    content = json.loads((folder / "files" / summary["comparison/path"]).read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    (found,) = comparisons(collect([study]).results)
    assert [row["model"] for row in rows] == [line.model for line in found.lines]
    for row, line in zip(rows, found.lines, strict=True):
        assert row["accuracy mean"] == pytest.approx(line.metrics["accuracy"].mean)
        assert row["gain"] == (pytest.approx(line.gain.mean) if line.gain else None)
        assert row["parameters"] == line.parameters
    drawn = [k.removesuffix("/_type") for k, v in summary.items() if v == "plotly-file"]
    assert {"map/accuracy", "map/gain over the baseline"} < set(drawn)
    assert any(name.startswith("pareto/latency at batch 1, median, ms") for name in drawn)
    heat = json.loads((folder / "files" / summary["map/accuracy/path"]).read_text())
    assert heat["data"][0]["type"] == "heatmap"
    assert "palette:" not in json.dumps(heat)
    best = found.students[0]
    assert summary["best/accuracy"] == pytest.approx(best.metrics["accuracy"].mean)
    assert summary["best/objective.lam"] == best.label["objective.lam"]


def test_the_page_is_written_too_where_both_are_asked_for(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", temperatures=(1.0,), seeds=(1,))
    page = tmp_path / "report.html"
    assert main([str(study), "-o", str(page), "--wandb", "papers"]) == 0
    assert page.is_file() and len(offline_runs(study)) == 1


def test_wandb_that_cannot_start_is_told_in_one_sentence(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", temperatures=(1.0,), seeds=(1,))
    with pytest.raises(UsageError, match=r"^--wandb a/b: W&B cannot start \(Invalid project name"):
        main([str(study), "--wandb", "a/b"])


def test_neither_file_nor_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^report: name what is written, as in -o report.html"):
        main([str(tmp_path)])
