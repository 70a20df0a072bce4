"""A compiled network trains as one that is not, and its weights keep their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distill_lab.results import Result

COMPILED = ("callbacks=compiled", "callbacks.compile.backend=eager", "trainer.max_steps=4")


@pytest.mark.parametrize("objective", ["hinton", "hidden"])
def test_it_trains_the_same_student(
    lab: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    objective: str,
) -> None:
    plain = lab("trainer.max_steps=4", f"objective={objective}", out="plain")
    compiled, real = list[dict[str, Any]](), torch.nn.Module.compile

    def noted(model: torch.nn.Module, **options: Any) -> None:
        assert isinstance(model, PreTrainedModel)
        compiled.append(options)
        real(model, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", noted)
    torch._dynamo.reset()
    counters.clear()
    quick = lab(*COMPILED, f"objective={objective}", out="quick")
    assert compiled == 2 * [{"dynamic": True, "mode": None, "backend": "eager"}]  # and the baseline
    assert counters["frames"]["ok"] > 0
    ours, theirs = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path / out / "student").state_dict()
        for out in ("plain", "quick")
    )
    assert list(ours) == list(theirs)
    torch.testing.assert_close(ours, theirs)
    assert quick.metrics["student"] == plain.metrics["student"]
