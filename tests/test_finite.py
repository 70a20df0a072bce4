"""A loss or gradient that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from distill_lab.errors import ConfigError, TrainingError
from distill_lab.finite import Finite, Seen
from distill_lab.modules import Distillation
from distill_lab.results import Result

Go = Callable[..., Result]


def spoilt(patch: pytest.MonkeyPatch, steps: set[int], value: float) -> None:
    """Let the soft term of some batches be no number."""
    forward = Distillation.training_step

    def training_step(self: Any, batch: Any, index: int) -> Any:
        if self.global_step in steps:
            teacher = self.source.signals

            def signals(batch: Any, wanted: Any) -> Any:
                found = teacher(batch, wanted)
                found.logits = torch.full_like(found.logits, value)
                return found

            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(self.source, "signals", signals, raising=False)
                return forward(self, batch, index)
        return forward(self, batch, index)

    patch.setattr(Distillation, "training_step", training_step)


def test_a_training_stops_and_says_where(lab: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, {4}, float("nan"))
    with pytest.raises(TrainingError) as told:
        lab("baseline=false", "teacher.cache=off")
    said = str(told.value)
    assert said.startswith("step 5: the term 'soft' is nan; rows ")
    assert "callbacks.finite.action=skip" in said and "hard" not in said


def test_steps_are_left_out_and_counted(
    lab: Go, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    spoilt(monkeypatch, {2, 3}, float("nan"))
    result = lab("baseline=false", "teacher.cache=off", "callbacks.finite.action=skip",
                 "optim.weight_decay=0.5")  # fmt: skip
    assert caplog.text.count("left out") >= 2 and "2 steps were left out" in caplog.text
    assert result.main("student") is not None
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["train/hard"].dropna().iloc[-1] < 1e3


def test_a_step_that_is_left_out_changes_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    guard = Finite(action="skip", most=2)
    trainer: Any = type("Trainer", (), {"global_step": 0})()
    weight.grad = torch.tensor([1.0, float("inf"), 1.0])
    guard.clip(trainer, optimizer, 1.0)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(3)) and guard.skipped == 1
    weight.grad = torch.tensor([3.0, 0.0, 4.0])
    guard.clip(trainer, optimizer, 1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.0, 0.8]))
    for last in (False, True):
        weight.grad = torch.full((3,), float("nan"))
        if last:
            with pytest.raises(TrainingError, match="the last 2 steps"):
                guard.clip(trainer, optimizer, 1.0)
        else:
            guard.clip(trainer, optimizer, 1.0)


def test_clipping_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Linear(5, 7) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for scale in (0.01, 100.0):
        for model in (ours, theirs):
            model.zero_grad()
            (scale * model(torch.ones(2, 5))).square().sum().backward()
        trainer: Any = type("Trainer", (), {"global_step": 0})()
        Finite().clip(trainer, torch.optim.SGD(ours.parameters(), lr=1.0), 1.0)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad)


def test_what_is_said() -> None:
    batch = torch.arange(20)
    terms = {"hard": torch.tensor(1.0), "soft": torch.tensor(float("inf"))}
    assert Seen(3, [batch], [terms], torch.tensor(2.0)).fault() == ""
    said = Seen(3, [batch], [terms], torch.tensor(float("nan"))).fault()
    assert said == "step 3: the term 'soft' is inf; rows 0, 1, 2, 3, 4, 5, 6, 7, ..."
    fine = {"hard": torch.tensor(1.0)}
    said = Seen(3, [batch[:2]], [fine], torch.tensor(float("inf"))).fault()
    assert said == "step 3: all terms are finite, but the gradient's norm is inf; rows 0, 1"


def test_a_number_of_steps_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.finite\.most=0"):
        Finite(most=0)
