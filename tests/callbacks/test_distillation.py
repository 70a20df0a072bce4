"""The distillation loss callback: schedules, terms in the log, warnings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from distill_lab.results import Result
from distill_lab.schedules import scheduled

Go = Callable[..., Result]


def curves(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv").dropna(subset=["train/loss"])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_go_from_start_to_end(schedule: str) -> None:
    values = [scheduled(schedule, 8.0, 1.0, step / 10) for step in range(11)]  # type: ignore[arg-type]
    assert values[0] == 8.0 and values[-1] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(values))
    assert values[5] == pytest.approx(4.5)


def test_constant_stays() -> None:
    assert scheduled("constant", 3.0, 1.0, 0.7) == 3.0


def test_cosine_is_flat_at_both_ends() -> None:
    first = 8.0 - scheduled("cosine", 8.0, 1.0, 0.1)
    middle = scheduled("cosine", 8.0, 1.0, 0.45) - scheduled("cosine", 8.0, 1.0, 0.55)
    assert first < middle / 2


def test_terms_are_logged_raw_and_weighted(lab: Go, tmp_path: Path) -> None:
    lab("objective.temperature=2", "objective.lam=0.25")
    log = curves(tmp_path / "run")
    assert len(log) > 3
    pd.testing.assert_series_equal(
        log["train/soft_weighted"], log["train/soft"] * 0.25 * 4, check_names=False, rtol=1e-5
    )
    pd.testing.assert_series_equal(
        log["train/hard_weighted"], log["train/hard"] * 0.75, check_names=False, rtol=1e-5
    )
    total = log["train/hard_weighted"] + log["train/soft_weighted"]
    pd.testing.assert_series_equal(log["train/loss"], total, check_names=False, rtol=1e-5)
    assert log["train/agreement"].between(0, 1).all()
    assert (log["train/temperature"] == 2).all() and (log["train/lam"] == 0.25).all()


def test_t_and_lam_follow_their_schedules(lab: Go, tmp_path: Path) -> None:
    lab(
        "objective.temperature=8",
        "callbacks.distillation.temperature_schedule=linear",
        "callbacks.distillation.temperature_end=2",
        "objective.lam=1",
        "callbacks.distillation.lam_schedule=cosine",
        "callbacks.distillation.lam_end=0.5",
    )
    log = curves(tmp_path / "run")
    for name, first, last in (("temperature", 8, 2), ("lam", 1, 0.5)):
        values = log[f"train/{name}"]
        assert values.is_monotonic_decreasing
        assert values.iloc[0] == pytest.approx(first, rel=0.01)
        assert values.iloc[-1] == pytest.approx(last, rel=0.01)


def test_a_term_that_drowns_another_is_told_once(lab: Go, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lab("objective.lam=0.999", "objective.temperature=40")
    assert caplog.text.count("more than 100 times the term 'hard'") <= 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        lab("objective.lam=0.00001", "objective.temperature=1", out="drowned")
    assert caplog.text.count("the term 'hard'") == 1
    assert "more than 100 times the term 'soft'" in caplog.text


@pytest.mark.parametrize(("accumulate", "told"), [(1, 0), (2, 1)])
def test_rows_that_are_compared_in_parts_are_told_once(
    accumulate: int, told: int, lab: Go, caplog: pytest.LogCaptureFixture
) -> None:
    lab("objective=rkd", f"trainer.accumulate_grad_batches={accumulate}", "baseline=false")
    assert caplog.text.count("compares the rows of a batch with each other") == told


def test_balanced_terms_are_not_warned_of(lab: Go, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lab("objective.lam=0.5", "objective.temperature=2")
    assert "more than 100 times" not in caplog.text


def test_the_trainers_steps_decide_what_is_logged(lab: Go, tmp_path: Path) -> None:
    lab("trainer.log_every_n_steps=3")
    steps = curves(tmp_path / "run")["step"]
    assert len(steps) > 1 and (steps.diff().dropna() == 3).all()
