"""The training step of a distillation."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from distill_lab.modules import Distillation
from distill_lab.optim import AdamW
from distill_lab.tasks import TextTask
from distill_lab.types import Batch, Outputs, Wanted
from tests.objectives.test_inside import batch
from tests.objectives.test_whole import EVERY, prepared
from tests.stacks import stack


@EVERY
def test_what_the_models_answer_in_bfloat16_is_compared_in_float32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, ask = prepared(name)
    rows = batch()
    with torch.no_grad():
        teacher = ask("teacher", rows)

    class Source:
        def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
            return teacher

    student = stack("bert", num_hidden_layers=2)
    module = Distillation(student, Source(), objective, cast(TextTask, None), AdamW(lr=1e-3))  # type: ignore[arg-type]
    answers = []

    def answer(batch: Batch, wanted: Wanted | None = None) -> Outputs:
        answers.append(Distillation.answer(module, batch, wanted))
        return answers[-1]

    monkeypatch.setattr(module, "answer", answer)
    with torch.autocast("cpu", torch.bfloat16):
        step = module.training_step(rows, 0)
        inside = student(**rows.inputs).logits
    assert inside.dtype == torch.bfloat16  # the models do compute in it
    expected = objective(answers[0], teacher, rows)
    assert {k: v.mean(rows).item() for k, v in step["terms"].items()} == {
        k: v.mean(rows).item() for k, v in expected.items()
    }


def test_a_projection_is_trained_in_half_precision_too() -> None:
    objective, ask = prepared("hidden")
    rows = batch()
    student, teacher = ask("student", rows), ask("teacher", rows)
    width = student.hidden_states[0].shape[-1]
    objective.projection = torch.nn.Linear(width, width, dtype=torch.bfloat16)  # type: ignore[assignment]
    terms = objective(student, teacher, rows)
    assert terms["hidden"].total.dtype == torch.float32
    terms["hidden"].total.backward()
    assert objective.projection.weight.grad is not None
