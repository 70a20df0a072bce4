"""A hopeless trial ends after the epoch that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from distill_lab.budget import Budget
from distill_lab.callbacks.pruning import TRIAL
from distill_lab.errors import DataError
from distill_lab.results import Result
from distill_lab.results.runs import collect
from distill_lab.search.journal import PRUNER, STUDY, open_journal

SIZES = "num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, intermediate_size: 32"
SLOW = ("trainer.max_epochs=3", "optim.lr=1e-7", "student=scratch", f"student.sizes={{{SIZES}}}")


@pytest.fixture
def trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], optuna.trial.FrozenTrial]:
    """A trial beside two that were perfect from the first epoch; the job knows it by name."""
    journal = tmp_path / "optuna.log"
    study = optuna.create_study(
        study_name=STUDY, storage=open_journal(journal), direction="maximize"
    )
    study.set_user_attr(PRUNER, {"name": "MedianPruner", "n_startup_trials": 2})
    for _ in range(2):
        done = study.ask()
        done.report(1.0, 1)
        study.tell(done, 1.0)
    mine = study.ask()
    monkeypatch.setenv(TRIAL, f"{mine.number}@{journal}")
    return lambda: optuna.load_study(study_name=STUDY, storage=open_journal(journal)).trials[-1]


def test_a_pruned_run_is_marked_and_not_compared(
    lab: Callable[..., Result], tmp_path: Path, trial: Callable[[], optuna.trial.FrozenTrial]
) -> None:
    result = lab(*SLOW)
    assert result.status == "pruned" and result.metrics == {} and result.main("student") is None
    score = result.cost["student"]["selection"]
    assert result.cost["student"]["best_epoch"] == 1 and score is not None and score < 1
    assert trial().intermediate_values == {1: score}
    assert not list(tmp_path.rglob("baselines")) and not (tmp_path / "run" / "student").exists()
    assert Result.read(tmp_path / "run" / "result.json") == result
    with pytest.raises(DataError, match="all were pruned"):
        collect([tmp_path / "run"])
    (tmp_path / "good").mkdir()
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    content |= {"status": "finished", "metrics": {"student": {content["metric"]: 0.5}}}
    content["cost"]["student"]["parameters"] = 1
    (tmp_path / "good" / "result.json").write_text(json.dumps(content))
    collected = collect([tmp_path])
    assert len(collected.results) == 1
    assert collected.left_out() == ["runs that a search has pruned, left out: 1"]


def test_a_good_run_reports_each_epoch_and_ends(
    lab: Callable[..., Result], tmp_path: Path, trial: Callable[[], optuna.trial.FrozenTrial]
) -> None:
    result = lab("trainer.max_epochs=2", "optim.lr=5e-3")
    assert result.status == "finished" and set(result.metrics) >= {"teacher", "student", "baseline"}
    values = trial().intermediate_values
    assert max(values.values()) == result.cost["student"]["selection"] and set(values) == {1, 2}
    # The baseline, which was trained too, has told nothing: two lines are of the trials before.
    assert (tmp_path / "optuna.log").read_text().count('"intermediate_value"') == 4


def test_the_last_epoch_is_never_pruned(
    lab: Callable[..., Result], trial: Callable[[], optuna.trial.FrozenTrial]
) -> None:
    assert lab(*SLOW, "trainer.max_epochs=1", "baseline=false").status == "finished"
    assert set(trial().intermediate_values) == {1}


def test_outside_a_search_nothing_is_pruned(
    lab: Callable[..., Result],
    trial: Callable[[], optuna.trial.FrozenTrial],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(TRIAL)
    assert lab(*SLOW, "baseline=false").status == "finished"
    assert not trial().intermediate_values


def test_being_watched_makes_no_other_baseline() -> None:
    watched = {"pruning": {"_target_": "distill_lab.callbacks.Pruning"}}
    assert Budget({}, watched, 1).ingredients() == Budget({}, {}, 1).ingredients()
