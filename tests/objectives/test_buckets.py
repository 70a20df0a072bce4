"""Divergences over the teacher's k largest classes and one bucket of all others."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

from distill_lab.objectives import by_rows
from distill_lab.top_logits import TopK, top_logits
from distill_lab.types import Outputs, Term
from tests.objectives.cases import CASES, Case, draw, of_rows, soft_part
from tests.objectives.references import softmax

BUCKETED = {name: case for name, case in CASES.items() if not case.objective.all_logits}
EVERY = pytest.mark.parametrize("case", BUCKETED.values(), ids=BUCKETED)
CLASSES = 6


def temperature(case: Case) -> float:
    return float(case.settings["temperature"])


def reduced(case: Case, teacher: Tensor, k: int) -> Outputs:
    """What is known of a teacher."""
    top = top_logits(teacher, TopK(k, (temperature(case),)))
    return Outputs(teacher.new_empty(len(teacher), 0), top=top)


def terms(case: Case, student: Tensor, teacher: Tensor, labels: Tensor, k: int) -> dict[str, Term]:
    found: dict[str, Term] = case.make()(
        Outputs(student), reduced(case, teacher, k), of_rows(labels)
    )
    return found


def soft(case: Case, student: Tensor, teacher: Tensor, labels: Tensor, k: int) -> Tensor:
    """The weighted soft part of the loss."""
    return terms(case, student, teacher, labels, k)["soft"].part(of_rows(labels))


def gradient(loss: Tensor, student: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, student)
    return found


def slow(case: Case, student: Tensor, teacher: Tensor, k: int) -> float:
    """The reference of the objective on the masses of the buckets, in Python's own floats.

    The references take logits: T times the logarithm of a mass is one that has it at T.
    """
    at, sides = temperature(case), ([], [])
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        kept = sorted(range(len(t)), key=lambda i: -t[i])[:k]
        for side, row in zip(sides, (softmax(s, at), softmax(t, at)), strict=True):
            masses = [row[i] for i in kept]
            others = [p for i, p in enumerate(row) if i not in kept]
            side.append([at * math.log(m) for m in masses + ([sum(others)] if others else [])])
    accepted = inspect.signature(case.reference).parameters
    given = {n: v for n, v in {**case.settings, **case.extra}.items() if n in accepted}
    return case.reference(*sides, [0] * len(student), **given)["soft"]


@EVERY
@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_it_equals_the_slow_reference(case: Case, k: int) -> None:
    for seed in range(4):
        drawn = draw(classes=CLASSES, seed=seed)
        found = terms(case, *drawn, k)["soft"].mean(of_rows(drawn[2])).item()
        assert found == pytest.approx(slow(case, *drawn[:2], k), rel=2e-4, abs=1e-6)


@EVERY
@pytest.mark.parametrize("k", [1, 3, 6])
def test_gradient_equals_that_of_the_reference(case: Case, k: int) -> None:
    """Central differences of the slow reference, in double precision."""
    student, teacher, labels = draw(rows=3, classes=CLASSES)
    student.requires_grad_()
    found = gradient(soft(case, student, teacher, labels, k), student)
    step, base = 1e-5, student.detach().double()
    for row in range(3):
        for column in range(CLASSES):
            values = []
            for sign in (1, -1):
                moved = base.clone()
                moved[row, column] += sign * step
                values.append(case.weights["soft"] * slow(case, moved, teacher.double(), k))
            slope = (values[0] - values[1]) / (2 * step)
            assert found[row, column].item() == pytest.approx(slope, rel=2e-3, abs=2e-4)


def test_hintons_gradient_has_a_closed_form() -> None:
    """T (q - p) / N on the head; the tail's share is spread as the student's mass."""
    case, k = BUCKETED["hinton"], 2
    student, teacher, labels = draw(classes=CLASSES)
    student.requires_grad_()
    found = gradient(soft(case, student, teacher, labels, k), student)
    at = temperature(case)
    q, p = ((x.detach().double() / at).softmax(dim=1) for x in (student, teacher))
    head = torch.zeros_like(q).scatter(1, teacher.topk(k).indices, 1.0).bool()
    q_tail, p_tail = (x.masked_fill(head, 0).sum(dim=1, keepdim=True) for x in (q, p))
    expected = torch.where(head, q - p, q * (q_tail - p_tail) / q_tail)
    lam = case.settings["lam"]
    torch.testing.assert_close(found, (lam * at * expected / len(labels)).float())


@EVERY
def test_all_classes_are_the_dense_loss(case: Case) -> None:
    for seed in range(10):
        student, teacher, labels = draw(classes=CLASSES, seed=seed)
        student.requires_grad_()
        all_kept = soft(case, student, teacher, labels, CLASSES)
        dense = soft_part(case, student, teacher, labels)
        torch.testing.assert_close(all_kept, dense, rtol=2e-6, atol=1e-7)
        torch.testing.assert_close(
            gradient(all_kept, student), gradient(dense, student), rtol=1e-5, atol=1e-6
        )


@EVERY
def test_it_grows_with_k_up_to_the_dense_loss(case: Case) -> None:
    """What cannot be told apart adds nothing: the data processing inequality."""
    for seed in range(20):
        student, teacher, labels = draw(classes=CLASSES, seed=seed)
        values = [soft(case, student, teacher, labels, k).item() for k in range(1, CLASSES + 1)]
        values.append(soft_part(case, student, teacher, labels).item())
        assert values == pytest.approx(sorted(values), abs=1e-5)
        assert values[-1] > values[0] + 1e-3


@EVERY
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_teacher_itself_costs_nothing(case: Case, k: int) -> None:
    _, teacher, labels = draw(classes=CLASSES)
    student = teacher.clone().requires_grad_()
    loss = soft(case, student, teacher, labels, k)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert gradient(loss, student).abs().max() < 1e-4


@EVERY
def test_shifting_a_row_changes_nothing(case: Case) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    shift = torch.linspace(-4, 4, 7)[:, None]
    moved = soft(case, student + shift, teacher - 2 * shift, labels, 3)
    same = soft(case, student, teacher, labels, 3)
    torch.testing.assert_close(moved, same, rtol=1e-4, atol=1e-5)


@EVERY
def test_permuting_the_classes_changes_nothing(case: Case) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    order = torch.tensor([3, 1, 4, 0, 5, 2])
    moved = soft(case, student[:, order], teacher[:, order], torch.argsort(order)[labels], 3)
    torch.testing.assert_close(moved, soft(case, student, teacher, labels, 3))


@EVERY
def test_units_in_parts_sum_to_the_whole(case: Case) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    whole = terms(case, student, teacher, labels, 3)["soft"]
    parts = [
        terms(case, student[s], teacher[s], labels[s], 3)["soft"]
        for s in (slice(0, 2), slice(2, 7))
    ]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    assert whole.unit == "answers"
    assert whole.weight == pytest.approx(case.weights["soft"])


@EVERY
def test_half_precision_is_close(case: Case) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    exact = soft(case, student, teacher, labels, 3)
    close = soft(case, student.bfloat16(), teacher.bfloat16(), labels, 3)
    assert close.dtype == torch.float32
    torch.testing.assert_close(close, exact, rtol=0.03, atol=0.03)


@EVERY
def test_pieces_give_value_and_gradient_of_the_whole(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    student.requires_grad_()
    whole = soft(case, student, teacher, labels, 3)
    expected = gradient(whole, student)
    cuts: list[tuple[slice]] = []
    real = by_rows.in_pieces

    def counted(part: object, given: list[tuple[slice]], *tensors: Tensor) -> Tensor:
        cuts.extend(given)
        return real(part, given, *tensors)  # type: ignore[arg-type]

    monkeypatch.setattr(by_rows, "in_pieces", counted)
    monkeypatch.setattr(by_rows, "_WHOLE", {"cpu": 2 * CLASSES})
    monkeypatch.setattr("distill_lab.top_logits._PIECE", 2 * CLASSES)
    pieces = terms(case, student, teacher, labels, 3)
    assert len(cuts) == 8  # four of the hard loss, four of the soft one
    torch.testing.assert_close(pieces["soft"].part(of_rows(labels)), whole)
    found = gradient(pieces["soft"].part(of_rows(labels)), student)
    torch.testing.assert_close(found, expected)


@EVERY
def test_no_gradient_reaches_the_teacher(case: Case) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    student.requires_grad_()
    teacher.requires_grad_()
    soft(case, student, teacher, labels, 3).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teacher.grad is None


@EVERY
@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("certain", ["student", "teacher", "both"])
def test_certain_models_give_finite_numbers(case: Case, certain: str, size: float, k: int) -> None:
    student, teacher, labels = draw(classes=CLASSES)
    sure = torch.zeros_like(student).index_fill_(1, torch.tensor([0]), size)
    student = (sure if certain != "teacher" else student).requires_grad_()
    teacher = sure if certain != "student" else teacher
    loss = soft(case, student, teacher, labels, k)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient(loss, student)).all()


@pytest.mark.parametrize("k", [2, 3])
def test_classes_without_any_mass_count_nothing(k: int) -> None:
    """As a model gives them that forbids some answers: their logits are minus infinity."""
    student, teacher, labels = draw(classes=CLASSES)
    student.requires_grad_()
    forbidden = teacher.clone()
    forbidden[:, 2:] = float("-inf")
    for case in BUCKETED.values():
        loss = soft(case, student, forbidden, labels, k)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient(loss, student)).all()
    case = BUCKETED["hinton"]
    at = temperature(case)
    q, p = student.detach().div(at).softmax(dim=1), teacher[:, :2].div(at).softmax(dim=1)
    expected = (p * (p.log() - q[:, :2].log())).sum(dim=1).mean() * case.weights["soft"]
    torch.testing.assert_close(soft(case, student, forbidden, labels, k), expected)
