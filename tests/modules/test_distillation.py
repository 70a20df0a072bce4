"""The training step of a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from distill_lab.errors import ConfigError
from distill_lab.models import state_fingerprint
from distill_lab.modules import Distillation
from distill_lab.objectives.hinton import Hinton
from distill_lab.optim import AdamW
from distill_lab.tasks import TextTask
from distill_lab.teachers import Live
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


def test_a_live_teacher_is_as_it_was_after_it_has_taught(finetuned: Path) -> None:
    """Its weights, evaluation mode and frozen parameters; with dropout it would not repeat."""
    load = AutoModelForSequenceClassification.from_pretrained
    teacher = Live(lambda: load(finetuned).train(), "teacher", "", "")
    before = state_fingerprint(teacher.model.state_dict())
    objective = Hinton()
    student = load(finetuned)
    module = Distillation(student, teacher, objective, cast(TextTask, None), AdamW(lr=1e-3))
    rows = batch()
    rows.labels = rows.labels % 2
    first = teacher.signals(rows, Wanted()).logits
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        module.training_step(rows, 0)["loss"].backward()
        optimizer.step()
        module.train()
    assert state_fingerprint(teacher.model.state_dict()) == before
    assert state_fingerprint(student.state_dict()) != before
    assert not any(part.training for part in teacher.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.model.parameters())
    assert torch.equal(teacher.signals(rows, Wanted()).logits, first)


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


def test_a_projection_that_no_loss_depends_on_is_refused_at_the_first_stage_alone() -> None:
    """A later one may leave it out, and a training that goes on begins there."""
    objective = Hinton()
    objective.project = torch.nn.Linear(2, 2)
    nothing = cast(TextTask, None)

    def module(stage: int) -> Distillation:
        objective.stage = stage
        return Distillation(stack("bert"), nothing, objective, nothing, AdamW(lr=1e-3))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"project\.weight, project\.bias of Hinton receives no"):
        module(stage=0).on_after_backward()
    module(stage=1).on_after_backward()
    objective.project(torch.ones(2)).sum().backward()
    module(stage=0).on_after_backward()
