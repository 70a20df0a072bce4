"""Runs side by side."""

from __future__ import annotations

import copy
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import mean, stdev

import pytest
from rich.console import Console

from distill_lab.errors import DataError
from distill_lab.results.cells import cells
from distill_lab.results.compare import comparisons
from distill_lab.results.report.words import summary
from distill_lab.results.result import Result
from distill_lab.results.runs import collect
from distill_lab.results.tables import fitting, run_table, tables
from distill_lab.results.words import notes
from tests.results.made import made, three


def result(seed: int, temperature: float, student: float, baseline: float = 0.8) -> Result:
    return Result(
        study="s",
        choices={"task": "glue/sst2", "student": "layers_6", "teacher_name": "bert"},
        overrides=[],
        seed=seed,
        task="sst2",
        metric="accuracy",
        metrics={
            "teacher": {"accuracy": 0.9},
            "student": {"accuracy": student},
            "baseline": {"accuracy": baseline},
        },
        cost={m: {"parameters": 1000, "seconds": 3.0} for m in ("teacher", "student", "baseline")},
        rows={"train": 10, "selection": 2, "evaluation": 4},
        fingerprints={
            "evaluation": "e", "tokenizer": "t", "teacher": "x", "baseline": f"b{seed}",
        },
        config={"seed": seed, "objective": {"temperature": temperature, "lam": 0.5}},
    )  # fmt: skip


RUNS = [
    result(1, 1.0, 0.82, 0.80), result(2, 1.0, 0.84, 0.81),
    result(1, 4.0, 0.86, 0.80), result(2, 4.0, 0.90, 0.81),
]  # fmt: skip


def printed(runs: list[Result]) -> str:
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables(runs):
        console.print(table)
    return console.export_text()


def test_runs_that_differ_in_seed_alone_are_averaged_best_first() -> None:
    found = cells(RUNS)
    assert [cell.label for cell in found] == [
        {"objective.temperature": "4"}, {"objective.temperature": "1"},
    ]  # fmt: skip
    assert found[0].score == pytest.approx(0.88)
    assert [len(cell.results) for cell in found] == [2, 2]


def test_the_selection_split_orders_them_and_the_evaluation_split_only_reports() -> None:
    runs = copy.deepcopy(RUNS)
    for run, score in zip(runs, (0.9, 0.8, 0.8, 0.7), strict=True):
        run.cost["student"]["selection"] = score
    found = cells(runs)
    assert [cell.label["objective.temperature"] for cell in found] == ["1", "4"]
    assert [cell.selection() for cell in found] == pytest.approx([0.85, 0.75])
    assert found[0].score < found[1].score
    first, second = (line for line in printed(runs).splitlines() if "student  " in line)
    assert "0.8500" in first and "0.7500" in second
    runs[0].cost["student"]["selection"] = None  # no epoch was scored
    assert [cell.label["objective.temperature"] for cell in cells(runs)] == ["4", "1"]


def test_a_number_that_is_typed_is_that_of_the_yaml() -> None:
    typed = [copy.deepcopy(run) for run in RUNS[2:]]
    for run in typed:
        run.seed, run.config["seed"] = run.seed + 2, run.seed + 2
        run.config["objective"]["temperature"] = 4
    found = cells([*RUNS, *typed])
    assert [(cell.label, cell.seeds) for cell in found] == [
        ({"objective.temperature": "4"}, [1, 2, 3, 4]), ({"objective.temperature": "1"}, [1, 2]),
    ]  # fmt: skip


def test_settings_that_are_equal_on_the_selection_split_are_said_to_be() -> None:
    runs = copy.deepcopy(RUNS)
    for run, score in zip(runs, (0.1, 0.2, 0.2, 0.1), strict=True):
        run.cost["student"]["selection"] = score
    (tied,) = comparisons(runs)
    assert [line.label for line in tied.tied] == [line.label for line in tied.students]
    assert "the first 2 students are equal there" in " ".join(notes(tied))
    assert "2 are equal on the selection split" in summary(tied)[0]
    runs[0].cost["student"]["selection"] = 0.3
    (told,) = comparisons(runs)
    assert len(told.tied) == 1 and "equal there" not in " ".join(notes(told))
    assert "T=1 is first on the selection split" in summary(told)[0]


def test_a_narrow_page_keeps_what_one_chooses_and_believes_by(tmp_path: Path) -> None:
    for temperature in (1.0, 2.0):
        made(tmp_path / f"{temperature}", three(1, 0.8), temperature=temperature)
    (found,) = comparisons(collect([tmp_path]).results)
    out = Console(width=80, file=StringIO())
    table, without = fitting(found, out)
    out.print(table)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "p" in without and "selection" not in without
    assert "no evidence" in text or "better" in text
    assert max(map(len, text.splitlines())) <= 80 and "0.8000" in text


def test_settings_of_one_objective_do_not_tell_another_apart() -> None:
    runs = copy.deepcopy(RUNS)
    for run in runs[:2]:
        run.choices["objective"] = "hinton"
    for run in runs[2:]:
        run.choices["objective"] = "jsd"
        run.config["objective"]["beta"] = 0.5
    assert [cell.label for cell in cells(runs)] == [{"objective": "jsd"}, {"objective": "hinton"}]
    runs[0].config["objective"]["temperature"] = 8.0
    labels = [cell.label for cell in cells(runs)]
    assert {"objective": "hinton", "objective.temperature": "8"} in labels
    assert {"objective": "jsd"} in labels


def test_what_changes_nothing_of_what_is_learned_tells_no_runs_apart() -> None:
    runs = copy.deepcopy(RUNS[:2])
    runs[0].config["callbacks"] = {"resume": {"_target_": "x", "every_minutes": 5}}
    runs[1].config["teacher"] = {"min_over_chance": -1}
    assert [len(cell.results) for cell in cells(runs)] == [2]
    runs[1].config["teacher"]["lr"] = 1e-3
    assert len(cells(runs)) == 2


def test_table_shows_mean_spread_gain_and_retention() -> None:
    text = printed(RUNS)
    assert f"{mean([0.86, 0.90]):.4f} ± {stdev([0.86, 0.90]):.4f}" in text
    assert f"{mean([0.80, 0.81]):.4f} ± {stdev([0.80, 0.81]):.4f}" in text
    assert f"+{mean([0.06, 0.09]):.4f}" in text
    assert f"{mean([0.86 / 0.9, 0.90 / 0.9]):.1%}" in text
    lines = [line.split()[0] for line in text.splitlines() if line.split()]
    assert lines.index("teacher") < lines.index("baseline") < lines.index("student")


def test_a_baseline_shared_by_runs_counts_once() -> None:
    runs = [result(1, t, 0.8, 0.7) for t in (1.0, 2.0, 3.0)] + [result(2, 1.0, 0.8, 0.9)]
    assert f"{mean([0.7, 0.9]):.4f}" in printed(runs)


def test_baselines_that_differ_in_more_than_their_seed_have_rows_of_their_own() -> None:
    runs = [result(seed, t, 0.8, 0.7 + seed / 100) for seed in (1, 2) for t in (1.0, 2.0)]
    for run in copy.deepcopy(runs):
        run.config["optim"] = {"lr": 1e-3}
        run.fingerprints["baseline"] += "faster"
        run.metrics["baseline"]["accuracy"] -= 0.5
        runs.append(run)
    for run in runs[:4]:
        run.config["optim"] = {"lr": 1e-4}
    rows = [line.split() for line in printed(runs).splitlines() if "baseline " in line]
    found = [row for row in rows if row[0] == "baseline"]
    assert [row[1:3] for row in found] == [["0.0001", "2"], ["0.001", "2"]]
    assert [row[3] for row in found] == ["0.7150", "0.2150"]


def test_runs_with_other_metrics_have_their_own_table() -> None:
    more, other = copy.deepcopy(RUNS[0]), copy.deepcopy(RUNS[1])
    for scores in more.metrics.values():
        scores["f1"] = 0.5
    other.metric, other.metrics = "f1", more.metrics
    assert len(tables([*RUNS, more, other])) == 3


def test_runs_on_other_rows_have_their_own_table() -> None:
    other = copy.deepcopy(RUNS[0])
    other.fingerprints["evaluation"] = "other"
    assert len(tables([*RUNS, other])) == 2


def test_a_single_run_has_no_spread() -> None:
    assert "±" not in printed(RUNS[:1]).replace("mean ± standard deviation", "")


def test_results_survive_the_file(tmp_path: Path) -> None:
    RUNS[0].write(tmp_path)
    assert Result.read(tmp_path / "result.json") == RUNS[0]


def test_collect_finds_runs_once(tmp_path: Path) -> None:
    for position, run in enumerate(RUNS):
        run.write(tmp_path / "study" / str(position))
    found = collect([tmp_path, tmp_path / "study" / "0"])
    assert len(found.results) == 4 and found.left_out() == []
    with pytest.raises(DataError, match="no finished run"):
        collect([_empty(tmp_path)])


def test_a_repeated_run_counts_once_the_one_with_a_baseline(tmp_path: Path) -> None:
    alone = replace(RUNS[0], metrics={k: v for k, v in RUNS[0].metrics.items() if k != "baseline"})
    for position, run in enumerate([*RUNS, alone]):
        run.write(tmp_path / str(position))
    found = collect([tmp_path])
    assert len(found.results) == 4 and RUNS[0] in found.results
    assert found.left_out() == ["runs with the settings and the seed of another, counted once: 1"]


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_run_table_shows_all_three() -> None:
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(run_table(RUNS[0]))
    text = console.export_text()
    for word in ("teacher", "student", "baseline", "0.8200", "+0.0200", "91.1%"):
        assert word in text


def test_a_nonpositive_teacher_gives_no_retention() -> None:
    run = copy.deepcopy(RUNS[0])
    run.metrics["teacher"]["accuracy"] = 0.0
    assert run.retention is None
    assert "-" in printed([run])
