"""What comparisons look like: in a terminal, for papers, for programs, with hostile names."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from distill_lab.config import experiments_dir
from distill_lab.results import formats, show
from distill_lab.results.compare import Comparison, comparisons
from distill_lab.results.published import published
from distill_lab.results.runs import collect
from distill_lab.results.tables import comparison_table, fitting, tables
from distill_lab.results.words import notes
from distill_lab.verbs.compare import _FORMATS, main
from tests.results.made import LABELS, made, three

HOSTILE = "<script>alert(1)</script>|[bold]&_%$#{}~^\\`*=1"


def study(folder: Path, seeds: int = 2, **other: object) -> list[Comparison]:
    for temperature in (1.0, 4.0):
        for seed in range(seeds):
            made(folder / f"{temperature},{seed}", three(seed, 0.8), seed=seed,
                 temperature=temperature, **other)  # fmt: skip
    return comparisons(collect([folder]).results)


def hostile(folder: Path) -> list[Comparison]:
    for seed, temperature in enumerate((1, 4)):
        config = {"seed": 1, "objective": {"name": f"{temperature}{HOSTILE}"}}
        choices = {"task": HOSTILE, "student": HOSTILE, "teacher_name": HOSTILE}
        made(folder / str(seed), three(1, 0.8), study=HOSTILE, task=HOSTILE, config=config,
             choices=choices)  # fmt: skip
    return comparisons(collect([folder]).results)


def printed(width: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: bool) -> str:
    out = Console(width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(show, "console", lambda: out)
    show.show_comparison([folder], **options)
    return out.export_text()


@pytest.mark.parametrize("width", [80, 100, 160, 300])
def test_a_table_fits_and_keeps_the_verdict(tmp_path: Path, width: int) -> None:
    metrics = {name: {"accuracy": float((own == LABELS).mean()), "f1": 0.5, "matthews": 0.25}
               for name, own in three(1, 0.8).items()}  # fmt: skip
    for seed in (1, 2):
        made(tmp_path / str(seed), three(1, 0.8), seed=seed, metrics=metrics)
        made(tmp_path / f"{seed}b", three(1, 0.8), seed=seed, metrics=metrics, temperature=2.0)
    (one,) = comparisons(collect([tmp_path]).results)
    out = Console(width=width, record=True, file=io.StringIO())
    table, without = fitting(one, out)
    out.print(table)
    lines = out.export_text().splitlines()
    head = next(line for line in lines if "verdict" in line)
    assert all(word in head for word in ("accuracy", "gain"))
    assert "T" in head.split()
    assert all(cell_len(line.rstrip()) <= width for line in lines)
    assert sum("no evidence" in line or "better" in line for line in lines) >= 2
    assert all(name not in head.split() for name in without)
    assert bool(without) is (width < 300)


def test_what_has_no_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(tmp_path)
    said = printed(80, tmp_path, monkeypatch)
    assert "no room for: " in said and "--format csv has all" in said
    assert "no room for" not in printed(160, tmp_path, monkeypatch)


def test_splits_tests_and_seeds_are_told(tmp_path: Path) -> None:
    (one,) = study(tmp_path / "two")
    said = " ".join(notes(one))
    assert "the selection split (50 rows held back of train) has chosen the epoch" in said
    assert "the evaluation split is only reported" in said
    assert "bootstrap over rows and seeds, for accuracy, corrected by Holm for 2 cells" in said
    assert "two seeds tell little" in said and "one seed:" not in said
    (alone,) = study(tmp_path / "one", seeds=1)
    said = " ".join(notes(alone))
    assert "one seed: no interval over seeds" in said and "exact McNemar test" in said
    (bare,) = study(tmp_path / "bare", cost={m: {"parameters": 1} for m in three(1, 0.5)})
    assert "chosen by the rows that are reported" in " ".join(notes(bare))


def test_left_out_runs_are_told_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(tmp_path)
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "error.txt").write_text("because [bold]of[/bold] this\n")
    said = printed(160, tmp_path, monkeypatch)
    assert "runs that failed, left out: 1" in said and "because [bold]of[/bold] this" in said


def test_names_are_no_markup_in_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(tmp_path)
    said = printed(400, tmp_path, monkeypatch)
    assert f"{HOSTILE}: teacher {HOSTILE}, student {HOSTILE}" in said
    assert f"4{HOSTILE}" in said
    run = collect([tmp_path]).results[0]
    show.show_run(run, tmp_path / "[red]here[/red]")


def test_markdown_escapes(tmp_path: Path) -> None:
    (one,) = hostile(tmp_path)
    text = formats.markdown([one])
    table = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len([1 for at, c in enumerate(line) if c == "|" and line[at - 1] != "\\"])
              for line in table}  # fmt: skip
    assert len(widths) == 1 and len(table) == 2 + len(one.lines)
    assert "\\<script\\>" in text and "<script>" not in text.replace("\\<script", "")


def test_latex_escapes(tmp_path: Path) -> None:
    (one,) = hostile(tmp_path)
    text = formats.latex([one])
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(one.lines)
    counts = {row.replace(r"\&", "").count("&") for row in rows}
    assert len(counts) == 1
    body = "".join(row.removesuffix(r"\\") for row in rows)
    assert r"\textless{}script\textgreater{}" in body and "<" not in body
    for sign in "_%$#":
        assert body.count(sign) == body.count("\\" + sign) + 2 * (sign == "$") * body.count("pm")


def test_csv_and_runs_are_read_again(tmp_path: Path) -> None:
    found = study(tmp_path)
    lines = list(csv.DictReader(io.StringIO(formats.as_csv(found))))
    assert [line["model"] for line in lines] == ["teacher", "baseline", "student", "student"]
    best = found[0].students[0]
    assert float(lines[2]["gain_accuracy"]) == best.gain.mean
    assert float(lines[2]["gain_accuracy_low"]) == best.gain.low
    assert lines[2]["gain_accuracy_verdict"] == best.gain.verdict
    assert lines[2]["objective.temperature"] == best.label["objective.temperature"]
    runs = collect([tmp_path]).results
    each = list(csv.DictReader(io.StringIO(formats.runs(runs))))
    assert len(each) == 4
    assert {(line["seed"], line["setting:objective.temperature"]) for line in each} == {
        (seed, t) for seed in "01" for t in ("1", "4")
    }
    assert float(each[0]["student_accuracy"]) == runs[0].metrics["student"]["accuracy"]
    assert float(each[0]["teacher_accuracy"]) == runs[0].metrics["teacher"]["accuracy"]


def test_no_cell_is_a_formula_of_a_spreadsheet(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.8), study="=cmd|' /C calc'!A0")
    (line,) = csv.DictReader(io.StringIO(formats.runs(collect([tmp_path]).results)))
    assert line["study"].startswith("'=")


def test_json_holds_everything(tmp_path: Path) -> None:
    found = study(tmp_path)
    content = json.loads(formats.as_json(found, ["left out"], []))
    (one,) = content["comparisons"]
    student = one["lines"][2]
    assert student["gains"]["accuracy"]["verdict"] == found[0].students[0].gain.verdict
    assert student["folders"] == [str(folder) for folder in found[0].students[0].folders]
    assert one["notes"] == notes(found[0]) and content["left_out"] == ["left out"]


def test_the_verb_knows_the_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path)
    assert formats.FORMATS == _FORMATS
    for form in _FORMATS:
        assert main([str(tmp_path), "--format", form]) == 0
        assert "sst2" in capsys.readouterr().out


def test_published_figures_have_a_study_and_a_source() -> None:
    studies = {file.stem for file in experiments_dir().glob("*.yaml")}
    figures = published(studies, [])
    assert len(figures) > 40
    assert all(figure.source and figure.value and figure.model for figure in figures)
    text = (experiments_dir() / "published.csv").read_text(encoding="utf-8")
    assert len(figures) == len(list(csv.DictReader(io.StringIO(text))))  # each of a study of ours


def test_paper_puts_the_studys_figures_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study(tmp_path / "one", study="hinton_mnist", task="mnist")
    said = printed(200, tmp_path / "one", monkeypatch, paper=True)
    for value in ("mnist errors 67", "mnist errors 146", "mnist errors 74", "1503.02531"):
        assert value in said
    study(tmp_path / "two", study="glue_small/rte", task="rte")
    said = printed(200, tmp_path / "two", monkeypatch, paper=True)
    assert "rte GLUE score 69.3" in said and "92.7" not in said
    study(tmp_path / "three")
    assert "no figures are kept" in printed(200, tmp_path / "three", monkeypatch, paper=True)


def test_fidelity_is_shown_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"teacher": {"nll": 0.25}, "student": {"agreement": 0.875, "nll": 0.5}}
    study(tmp_path / "new", fidelity=told)
    assert "agreement" not in printed(200, tmp_path / "new", monkeypatch)
    said = printed(200, tmp_path / "new", monkeypatch, fidelity=True)
    assert "87.5%" in said and "0.2500" in said
    study(tmp_path / "mixed" / "a")
    made(tmp_path / "mixed" / "b", three(1, 0.8), fidelity=told, temperature=9.0)
    assert "0.2500" in printed(200, tmp_path / "mixed", monkeypatch, fidelity=True)
    study(tmp_path / "old")
    assert "earlier version" in printed(200, tmp_path / "old", monkeypatch, fidelity=True)


def test_groups_apart_say_why(tmp_path: Path) -> None:
    study(tmp_path / "a")
    study(tmp_path / "b", fingerprints={"evaluation": "other"})
    found = collect([tmp_path]).results
    first, second = comparisons(found)
    assert "not to be compared" not in " ".join(notes(first))
    assert "not to be compared with the first table: other evaluation rows" in " ".join(
        notes(second)
    )
    assert len(tables(found)) == 2
    assert comparison_table(first, ["accuracy"]).columns


def test_a_run_says_whether_its_gain_is_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Console(width=200, record=True, file=io.StringIO())
    monkeypatch.setattr(show, "console", lambda: out)
    for name, accuracy in (("good", 0.9), ("like", 0.7), ("bad", 0.4)):
        made(tmp_path / name, three(1, accuracy))
        show.show_run(collect([tmp_path / name]).results[0], tmp_path / name)
    said = out.export_text()
    assert "(exact McNemar test): the student is better than the baseline; one seed" in said
    assert "no evidence that student and baseline differ" in said
    assert "the student is worse than the baseline" in said


def test_a_file_has_no_blanks_at_the_ends_of_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "run", three(1, 0.8))
    show.show_comparison([tmp_path])
    said = capsys.readouterr().out
    assert "student" in said and all(line == line.rstrip() for line in said.splitlines())
