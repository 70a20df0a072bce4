"""Hinton's objective against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.hinton import Hinton, soft_loss
from distill_lab.types import Batch, Outputs

TEMPERATURES = [0.5, 1.0, 2.0, 4.0, 20.0]


def logits(rows: int = 7, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = 3 * torch.randn(rows, classes, generator=generator)
    teacher = 3 * torch.randn(rows, classes, generator=generator)
    return student, teacher, torch.randint(classes, (rows,), generator=generator)


def batch(labels: Tensor) -> Batch:
    return Batch(torch.arange(len(labels)), {}, labels)


def slow(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """The divergence from its definition, in Python's own floats."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = ([math.exp(v / temperature) for v in row] for row in (s, t))
        q, p = ([v / sum(row) for v in row] for row in (q, p))
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    return total


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_loss_equals_the_slow_reference(temperature: float) -> None:
    student, teacher, _ = logits()
    expected = slow(student, teacher, temperature)
    assert soft_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_loss_of_the_teacher_itself_is_zero(temperature: float) -> None:
    _, teacher, _ = logits()
    assert soft_loss(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-6)


def test_soft_loss_is_never_negative() -> None:
    for seed in range(50):
        student, teacher, _ = logits(seed=seed)
        assert soft_loss(student, teacher, 2.0).item() >= 0


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_weighted_gradient_is_t_times_the_difference_of_probabilities(temperature: float) -> None:
    student, teacher, labels = logits()
    student.requires_grad_()
    objective = Hinton(temperature=temperature, lam=1.0)
    terms = objective(Outputs(student), Outputs(teacher), batch(labels))
    (terms["soft"].part(batch(labels))).backward()
    q, p = (torch.softmax(x.detach() / temperature, dim=1) for x in (student, teacher))
    torch.testing.assert_close(student.grad, temperature * (q - p) / len(labels))


def test_large_temperature_gives_half_the_squared_distance_of_centred_logits() -> None:
    student, teacher, labels = (x.double() if x.is_floating_point() else x for x in logits())
    weighted = 1000.0**2 * soft_loss(student, teacher, 1000.0).item() / len(labels)
    d = teacher - student
    centred = d - d.mean(dim=1, keepdim=True)
    expected = 0.5 * (centred**2).sum(dim=1).mean().item() / d.shape[1]
    assert weighted == pytest.approx(expected, rel=0.05)


def test_shifting_a_row_of_logits_changes_nothing() -> None:
    student, teacher, _ = logits()
    shift = torch.arange(7.0)[:, None]
    moved = soft_loss(student + shift, teacher - 2 * shift, 2.0)
    torch.testing.assert_close(moved, soft_loss(student, teacher, 2.0), rtol=1e-4, atol=1e-5)


def test_permuting_the_classes_changes_nothing() -> None:
    student, teacher, labels = logits()
    order = torch.tensor([3, 1, 4, 0, 2])
    new_labels = torch.argsort(order)[labels]
    objective = Hinton(temperature=3.0, lam=0.3)
    before = objective(Outputs(student), Outputs(teacher), batch(labels))
    after = objective(Outputs(student[:, order]), Outputs(teacher[:, order]), batch(new_labels))
    for name in before:
        torch.testing.assert_close(before[name].total, after[name].total)


def test_parts_of_a_batch_sum_to_the_whole() -> None:
    student, teacher, labels = logits(rows=7)
    objective = Hinton()
    whole = objective(Outputs(student), Outputs(teacher), batch(labels))
    parts = [
        objective(Outputs(student[s]), Outputs(teacher[s]), batch(labels[s]))
        for s in (slice(0, 2), slice(2, 7))
    ]
    for name, term in whole.items():
        torch.testing.assert_close(term.total, parts[0][name].total + parts[1][name].total)
        assert term.unit == "answers"


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher, labels = logits()
    student.requires_grad_()
    teacher.requires_grad_()
    rows = batch(labels)
    terms = Hinton()(Outputs(student), Outputs(teacher), rows)
    sum(term.part(rows) for term in terms.values()).backward()  # type: ignore[union-attr]
    assert student.grad is not None and teacher.grad is None


@pytest.mark.parametrize(("temperature", "lam"), [(1.0, 0.0), (4.0, 0.25), (8.0, 1.0)])
def test_weights(temperature: float, lam: float) -> None:
    student, teacher, labels = logits()
    objective = Hinton(temperature=temperature, lam=lam)
    terms = objective(Outputs(student), Outputs(teacher), batch(labels))
    assert terms["hard"].weight == 1 - lam
    assert terms["soft"].weight == lam * temperature**2
    ce = torch.nn.functional.cross_entropy(student, labels)
    torch.testing.assert_close(terms["hard"].mean(batch(labels)), ce)


def test_half_precision_logits_are_compared_in_float32() -> None:
    student, teacher, _ = logits()
    exact = soft_loss(student, teacher, 2.0)
    close = soft_loss(student.bfloat16(), teacher.bfloat16(), 2.0)
    assert close.dtype == torch.float32
    torch.testing.assert_close(close, exact, rtol=0.02, atol=0.02)


def test_regression_is_squared_error_to_label_and_teacher() -> None:
    student, teacher, _ = logits(classes=1)
    labels = torch.linspace(0, 5, 7)
    terms = Hinton(temperature=4.0, lam=0.3)(Outputs(student), Outputs(teacher), batch(labels))
    torch.testing.assert_close(
        terms["hard"].mean(batch(labels)), ((student[:, 0] - labels) ** 2).mean()
    )
    torch.testing.assert_close(terms["soft"].mean(batch(labels)), ((student - teacher) ** 2).mean())
    assert (terms["hard"].weight, terms["soft"].weight) == (0.7, 0.3)


def test_hard_loss_of_no_rows_is_zero_with_a_gradient_path() -> None:
    student = torch.zeros(0, 3, requires_grad=True)
    loss = hard_loss(student, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and student.grad is not None


@pytest.mark.parametrize("lam", [-0.01, 1.01, float("nan")])
def test_lam_out_of_range_is_refused(lam: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.lam"):
        Hinton(lam=lam)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_out_of_range_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.temperature"):
        Hinton(temperature=temperature)
