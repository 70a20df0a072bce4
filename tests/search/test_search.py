"""The course of a search: drawn, told, interrupted, gone on with, reported."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from filelock import FileLock

from distill_lab.errors import ConfigError, DataError, JobsFailed, UsageError
from distill_lab.search.journal import open_journal, report
from tests.search.formula import Broken, Formula, Values, search

LINE = ("objective.temperature=interval(1,8)", "hydra.sweeper.n_trials=6")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "mine"


def near_three(values: Values) -> float:
    return 1 - abs(values["objective.temperature"] - 3) / 10


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def temperatures(folder: Path) -> list[str]:
    return [row["objective.temperature"] for row in rows(folder)]


def best(folder: Path, name: str = "best") -> dict[str, Any]:
    content = yaml.safe_load((folder / "experiments" / f"{name}.yaml").read_text())
    assert isinstance(content, dict)
    return content


def test_the_best_of_all_trials_is_kept_and_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Formula(near_three)
    search(jobs, *LINE, "student=layers_3,layers_6", "optim.lr=1e-3")
    found = rows(folder)
    assert len(found) == 6 == len(jobs.ran) and {row["state"] for row in found} == {"finished"}
    top = max(found, key=lambda row: float(row["metric"]))
    content = best(folder)
    assert content["objective"] == {"temperature": float(top["objective.temperature"])}
    assert {"override /student": top["student"]} in content["defaults"]
    assert content["optim"] == {"lr": 1e-3} and content["study"] == "mine-best"
    said = capsys.readouterr().out
    assert "distill-lab train --config-dir runs/mine experiments=best" in said
    assert f"{float(top['metric']):.4f}" in said.split("best")[1].splitlines()[0]
    assert all(values["baseline"] is False for values in jobs.ran) and "baseline" not in content


def test_a_longer_line_goes_on_and_the_same_line_runs_nothing(folder: Path) -> None:
    search(Formula(near_three), *LINE)
    first = temperatures(folder)
    again = Formula(near_three)
    search(again, *LINE)
    assert not again.ran and temperatures(folder) == first
    more = Formula(near_three)
    search(more, LINE[0], "hydra.sweeper.n_trials=8")
    assert len(more.ran) == 2 and temperatures(folder)[:6] == first
    assert len(set(temperatures(folder))) == 8


@pytest.mark.parametrize(
    ("sampler", "at_once"),
    [
        ("{name: TPESampler, seed: 1, n_startup_trials: 2}", 1),
        ("{name: TPESampler, seed: 1, n_startup_trials: 2}", 2),
        ("{name: GPSampler, seed: 1, n_startup_trials: 2}", 1),
        ("{name: RandomSampler, seed: 1}", 2),
    ],
)
def test_an_interrupted_search_ends_as_one_that_was_not(
    folder: Path, sampler: str, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [*LINE, f"hydra.sweeper.n_jobs={at_once}", f"hydra.sweeper.sampler={sampler}"]
    line.append("hydra.sweeper.pruner=null")
    calls = []

    def interrupted(values: Values) -> float:
        calls.append(values)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return near_three(values)

    with pytest.raises(KeyboardInterrupt):
        search(Formula(interrupted), *line)
    assert len(rows(folder)) < 4
    search(Formula(near_three), *line)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    search(Formula(near_three), *line)
    whole = Path("runs/mine")
    assert temperatures(folder) == temperatures(whole) and best(folder) == best(whole)


def test_what_ran_is_repeated_whatever_the_sampler_would_draw_next(folder: Path) -> None:
    line = [*LINE, "hydra.sweeper.sampler.name=QMCSampler"]
    ran = list[float]()

    def interrupted(values: Values) -> float:
        ran.append(values["objective.temperature"])
        if len(ran) == 3:
            raise KeyboardInterrupt
        return near_three(values)

    with pytest.raises(KeyboardInterrupt):
        search(Formula(interrupted), *line)
    search(Formula(near_three), *line)
    assert temperatures(folder)[2] == f"{ran[2]:.4g}" and len(set(temperatures(folder))) == 6


def test_scores_of_epochs_outlive_an_interruption(folder: Path) -> None:
    """A trial whose first seed had finished counts for the pruner as without the interruption."""
    line = [LINE[0], "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]
    line += ["hydra.sweeper.seeds=[1,2]"]
    stops = iter([True])

    def interrupted(values: Values) -> list[float]:
        if values["seed"] == 2 and next(stops, False):
            raise KeyboardInterrupt
        return [0.1, 0.2, 0.3]

    with pytest.raises(KeyboardInterrupt):
        search(Formula(interrupted), *line)
    search(Formula(interrupted), *line)
    storage = open_journal(folder / "optuna.log")
    trials = optuna.load_study(study_name="search", storage=storage).trials
    assert [trial.intermediate_values for trial in trials] == 3 * [{1: 0.1, 2: 0.2}]


def test_a_job_of_a_search_that_was_killed_is_not_pruned(folder: Path) -> None:
    """On a cluster it goes on, while the same line typed again gives its trial another number."""
    search(Formula(lambda values: [0.1, 0.2]), LINE[0], "hydra.sweeper.n_trials=1")
    assert report(f"0@{folder / 'optuna.log'}", 2, 0.1) is False


@pytest.mark.parametrize("name", ["NSGAIISampler", "QMCSampler"])
def test_other_samplers_search_too(folder: Path, name: str) -> None:
    search(Formula(near_three), *LINE, f"hydra.sweeper.sampler.name={name}")
    search(Formula(near_three), LINE[0], "hydra.sweeper.n_trials=8",
           f"hydra.sweeper.sampler.name={name}")  # fmt: skip
    assert len(set(temperatures(folder))) == 8


def test_a_key_that_a_choice_lacks_is_left_out(folder: Path) -> None:
    jobs = Formula(lambda values: float(values["objective"] == "hinton"))
    search(jobs, *LINE, "objective=hinton,mse_logits")
    kinds = {values["objective"]: "objective.temperature" in values for values in jobs.ran}
    assert kinds == {"hinton": True, "mse_logits": False}
    assert "override /objective" in str(best(folder)["defaults"])


def test_seeds_are_averaged(folder: Path) -> None:
    jobs = Formula(lambda values: values["seed"] / 10)
    search(jobs, LINE[0], "hydra.sweeper.n_trials=1", "hydra.sweeper.seeds=[1,2,6]")
    (row,) = rows(folder)
    assert float(row["metric"]) == pytest.approx(0.3) and float(row["metric_sd"]) > 0.2
    assert [values["seed"] for values in jobs.ran] == [1, 2, 6]
    assert len(row["folders"].split()) == 3 and "seed" not in best(folder)


def test_a_failing_trial_is_told_and_the_others_go_on(folder: Path) -> None:
    def sometimes(values: Values) -> float:
        if values["objective.temperature"] > 4:
            raise Broken("too hot")
        return near_three(values)

    search(Formula(sometimes), *LINE, "hydra.sweeper.max_failures=6")
    states = {row["state"]: row["reason"] for row in rows(folder)}
    assert states == {"finished": "", "failed": "too hot"}
    assert best(folder)["objective"]["temperature"] <= 4


def test_a_job_that_the_launcher_refuses_fails_alone(folder: Path) -> None:
    class Looking(Formula):
        def launch(self, lines: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
            if any("student=layers_12" in line for line in lines):
                raise ConfigError(["student.num_layers=12: the teacher has 6 layers", "and more"])
            return super().launch(lines, initial_job_idx)

    jobs = Looking(lambda values: 1.0)
    search(jobs, "student=layers_3,layers_12", "hydra.sweeper.n_trials=6",
           "hydra.sweeper.n_jobs=3", "hydra.sweeper.max_failures=6")  # fmt: skip
    states = {row["student"]: (row["state"], row["reason"]) for row in rows(folder)}
    reason = "student.num_layers=12: the teacher has 6 layers; and more"
    assert states == {"layers_3": ("finished", ""), "layers_12": ("failed", reason)}


def test_only_failures_end_a_search(folder: Path) -> None:
    def never(values: Values) -> float:
        raise Broken("no memory")

    jobs = Formula(never)
    with pytest.raises(JobsFailed, match="3 trials in a row failed, the last one by: no memory"):
        search(jobs, *LINE, "hydra.sweeper.max_failures=3")
    assert len(jobs.ran) == 3
    with pytest.raises(JobsFailed, match="none of 3 trials finished"):
        search(jobs, LINE[0], "hydra.sweeper.n_trials=3")


def test_a_hopeless_trial_is_pruned_by_its_first_seed(folder: Path) -> None:
    epochs = iter([0.9, 0.9, 0.2, 0.9])

    def score(values: Values) -> list[float]:
        # The second seed is bad everywhere: it is not held against trials that others had none of.
        first = next(epochs) if values["seed"] == 1 else 0.1
        return [first, first]

    jobs = Formula(score)
    line = [LINE[0], "hydra.sweeper.n_trials=4", "hydra.sweeper.pruner.n_startup_trials=2"]
    search(jobs, *line, "hydra.sweeper.seeds=[1,2]")
    assert [row["state"] for row in rows(folder)] == ["finished", "finished", "pruned", "finished"]
    assert [values["seed"] for values in jobs.ran] == [1, 2, 1, 2, 1, 1, 2]
    again = Formula(score)
    search(again, *line, "hydra.sweeper.seeds=[1,2]")
    assert not again.ran


@pytest.mark.parametrize(
    "goals",
    [
        "hydra.sweeper.goals=[metric,parameters]",
        "hydra.sweeper.goals={metric: maximize, cost.student.parameters: minimize}",
    ],
)
def test_two_goals_give_a_front(
    folder: Path, goals: str, capsys: pytest.CaptureFixture[str]
) -> None:
    size = {"layers_3": 1, "layers_6": 2, "layers_12": 3}

    class Sized(Formula):
        def _run(self, place: Path, values: Values) -> bool:
            return super()._run(place, {**values, "size": size[values["student"]]})

    metric = {"layers_3": 0.5, "layers_6": 0.8, "layers_12": 0.7}
    jobs = Sized(lambda values: metric[values["student"]])
    line = ["student=layers_3,layers_6,layers_12", "hydra.sweeper.n_trials=9"]
    search(jobs, *line, goals)
    name = "parameters" if "[" in goals else "cost.student.parameters"
    found = {row["student"]: (row["metric"], row[name]) for row in rows(folder)}
    assert found == {"layers_3": ("0.5", "1000.0"), "layers_6": ("0.8", "2000.0"),
                     "layers_12": ("0.7", "3000.0")}  # fmt: skip
    front = [best(folder, f"best_{i}")["defaults"][-1]["override /student"] for i in (1, 2)]
    assert front == ["layers_6", "layers_3"]
    assert sorted(f.name for f in (folder / "experiments").iterdir()) == [
        "best_1.yaml",
        "best_2.yaml",
    ]
    (folder / "experiments" / "best_3.yaml").write_text("of a longer front, before\n")
    search(jobs, *line, goals)
    assert not (folder / "experiments" / "best_3.yaml").exists()
    table = capsys.readouterr().out
    assert "best_2" in table and "layers_12" not in table
    with pytest.raises(UsageError, match=r"was begun with .*parameters.* where this line has"):
        search(jobs, *line)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["optim.lr=2e-3"], r"begun with optim.lr=0.001 where this line has optim.lr=0.002"),
        ([], r"begun with optim.lr=0.001 where this line has nothing"),
        (
            ["optim.lr=1e-3", "student=layers_3,layers_6"],
            "where this line has student=layers_3,layers_6",
        ),
        (["optim.lr=1e-3", "hydra.sweeper.seeds=[1,2]"], r"seeds=\[1, 2\]"),
    ],
)
def test_lines_that_cannot_be_compared_are_not_mixed(
    folder: Path, other: list[str], said: str
) -> None:
    search(Formula(near_three), LINE[0], "optim.lr=1e-3", "hydra.sweeper.n_trials=1")
    with pytest.raises(UsageError, match=said):
        search(Formula(near_three), *LINE, *other)


def test_a_study_without_results_is_begun_anew_and_an_axis_may_grow(folder: Path) -> None:
    def never(values: Values) -> float:
        raise Broken("no file")

    with pytest.raises(JobsFailed):
        search(Formula(never), LINE[0], "optim.lr=1e-3", "hydra.sweeper.n_trials=1")
    search(Formula(near_three), LINE[0], "hydra.sweeper.n_trials=2")
    wider = "objective.temperature=interval(1,20)"
    search(Formula(near_three), wider, "hydra.sweeper.n_trials=4")
    assert len(rows(folder)) == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["objective.temprature=interval(1,8)"], "did you mean 'temperature'"),
        (["objective.lam=interval(0,2)"], "objective.lam=2"),
        (["student.select=uniform,nowhere"], "nowhere"),
        (["objective=mse_logits", "objective.temperature=interval(1,8)"], "not a parameter of"),
        ([LINE[0], "hydra.sweeper.pruner.name=MedianPrunner"], "did you mean 'MedianPruner'"),
        ([LINE[0], "hydra.sweeper.pruner.n_startup=3"], "did you mean 'n_startup_trials'"),
        ([LINE[0], "hydra.sweeper.sampler.name=os.system"], "there is no such sampler"),
        ([LINE[0], "hydra.sweeper.n_trials=0"], r"n_trials=0: at least 1"),
        ([LINE[0], "hydra.sweeper.seeds=[1,1]"], "stands twice"),
        ([LINE[0], "hydra.sweeper.seeds=[1]", "seed=2"], "leave one out"),
    ],
)
def test_wrong_lines_are_refused_before_the_first_trial(
    folder: Path, line: list[str], said: str
) -> None:
    jobs = Formula(near_three)
    with pytest.raises(UsageError, match=said):
        search(jobs, *line)
    assert not jobs.ran and not folder.exists()


def test_values_that_do_not_fit_together_fail_alone(folder: Path) -> None:
    jobs = Formula(lambda values: 1.0)
    search(
        jobs, "trainer.val_check_interval=0.5,10", "trainer.check_val_every_n_epoch=1,null",
        "hydra.sweeper.n_trials=10", "hydra.sweeper.max_failures=10",
    )  # fmt: skip
    found = {
        (row["trainer.val_check_interval"], row["trainer.check_val_every_n_epoch"]): row
        for row in rows(folder)
    }
    assert len(found) == 4 and len(jobs.ran) < 10
    states = {pair: row["state"] for pair, row in found.items()}
    assert states.pop(("0.5", "null")) == "failed" and set(states.values()) == {"finished"}
    assert "val_check_interval" in found["0.5", "null"]["reason"]


def test_two_searches_do_not_share_a_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    with FileLock(folder / "search.lock"), pytest.raises(UsageError, match="at work here"):
        search(Formula(near_three), *LINE)


def test_a_damaged_journal_is_told_and_a_cut_one_mended(folder: Path) -> None:
    search(Formula(near_three), LINE[0], "hydra.sweeper.n_trials=2")
    journal = folder / "optuna.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    search(Formula(near_three), LINE[0], "hydra.sweeper.n_trials=3")
    assert journal.read_bytes().startswith(whole) and len(rows(folder)) == 3
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], b"{nonsense\n", *lines[5:]]))
    with pytest.raises(DataError, match="line 5: damaged"):
        search(Formula(near_three), *LINE)
    journal.write_text('{"op_code": 99}\n{"op_code": 4, "study_id": 7}\n')
    with pytest.raises(DataError, match="not a journal of Optuna"):
        search(Formula(near_three), *LINE)
