"""What every response-based objective must be."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from transformers import BertConfig

from distill_lab.config import conf_dir
from distill_lab.errors import ConfigError
from distill_lab.objectives.hinton import soft_loss
from distill_lab.objectives.jsd import JSD, jsd
from distill_lab.objectives.reverse_kl import reverse_kl
from distill_lab.objectives.skew_kl import SkewKL, skew_kl
from distill_lab.signatures import locate
from distill_lab.types import Fit, Problem
from tests.objectives.cases import CASES, Case, draw, of_rows, soft_part, terms
from tests.objectives.test_inside import TRAINED

EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
_ROW_WISE = {name: case for name, case in CASES.items() if case.row_wise}
ROW_WISE = pytest.mark.parametrize("case", _ROW_WISE.values(), ids=_ROW_WISE.keys())


def reference(case: Case, student: Any, teacher: Any, labels: Any) -> dict[str, float]:
    accepted = inspect.signature(case.reference).parameters
    given = {k: v for k, v in {**case.settings, **case.extra}.items() if k in accepted}
    return case.reference(student.tolist(), teacher.tolist(), labels.tolist(), **given)


def test_every_yaml_has_a_case() -> None:
    shipped = {path.stem for path in (conf_dir() / "objective").glob("*.yaml")}
    assert {name.split()[0] for name in CASES} | set(TRAINED) == shipped - {"sequence"}


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_terms_equal_the_slow_reference(case: Case, seed: int) -> None:
    drawn = draw(seed=seed)
    found = terms(case, *drawn)
    for name, expected in reference(case, *drawn).items():
        assert found[name].mean(of_rows(drawn[2])).item() == pytest.approx(
            expected, rel=2e-4, abs=1e-5
        ), name


@EVERY
def test_gradient_equals_that_of_the_reference(case: Case) -> None:
    """Central differences of the slow reference, in double precision."""
    student, teacher, labels = draw(rows=3, classes=4)
    student.requires_grad_()
    soft_part(case, student, teacher, labels).backward()
    assert student.grad is not None
    step, base = 1e-5, student.detach().double()
    for row in range(3):
        for column in range(4):
            values = []
            for sign in (1, -1):
                moved = base.clone()
                moved[row, column] += sign * step
                found = reference(case, moved, teacher.double(), labels)
                values.append(sum(case.weights[name] * value for name, value in found.items()))
            slope = (values[0] - values[1]) / (2 * step)
            assert student.grad[row, column].item() == pytest.approx(slope, rel=2e-3, abs=2e-4)


@EVERY
def test_the_teacher_itself_costs_nothing(case: Case) -> None:
    _, teacher, labels = draw()
    student = teacher.clone().requires_grad_()
    loss = soft_part(case, student, teacher, labels)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert student.grad is not None and student.grad.abs().max() < 1e-4


@EVERY
def test_no_term_is_negative(case: Case) -> None:
    for seed in range(30):
        for name, term in terms(case, *draw(seed=seed)).items():
            assert term.total.item() >= -1e-6, name


@EVERY
def test_shifting_a_row_changes_nothing(case: Case) -> None:
    student, teacher, labels = draw()
    shift = torch.linspace(-4, 4, 7)[:, None]
    moved = soft_part(case, student + shift, teacher - 2 * shift, labels)
    torch.testing.assert_close(
        moved, soft_part(case, student, teacher, labels), rtol=1e-4, atol=1e-5
    )


@EVERY
def test_permuting_the_classes_changes_nothing(case: Case) -> None:
    student, teacher, labels = draw()
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = soft_part(case, student[:, order], teacher[:, order], torch.argsort(order)[labels])
    torch.testing.assert_close(
        moved, soft_part(case, student, teacher, labels), rtol=1e-4, atol=1e-5
    )


@EVERY
def test_permuting_the_rows_changes_nothing(case: Case) -> None:
    student, teacher, labels = draw()
    order = torch.tensor([3, 1, 4, 0, 2, 6, 5])
    moved = soft_part(case, student[order], teacher[order], labels[order])
    torch.testing.assert_close(
        moved, soft_part(case, student, teacher, labels), rtol=1e-4, atol=1e-5
    )


@ROW_WISE
def test_parts_sum_to_the_whole(case: Case) -> None:
    student, teacher, labels = draw()
    whole = terms(case, student, teacher, labels)
    parts = [terms(case, student[s], teacher[s], labels[s]) for s in (slice(0, 2), slice(2, 7))]
    for name, term in whole.items():
        torch.testing.assert_close(term.total, parts[0][name].total + parts[1][name].total)
        assert term.unit == parts[0][name].unit == "answers"


@EVERY
def test_weights(case: Case) -> None:
    found = {name: term.weight for name, term in terms(case, *draw()).items()}
    assert found == pytest.approx(case.weights)


@EVERY
def test_no_gradient_reaches_the_teacher(case: Case) -> None:
    student, teacher, labels = draw()
    student.requires_grad_()
    teacher.requires_grad_()
    soft_part(case, student, teacher, labels).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert teacher.grad is None


@EVERY
def test_half_precision_is_close(case: Case) -> None:
    student, teacher, labels = draw()
    half = student.bfloat16().requires_grad_()
    student.requires_grad_()
    exact = soft_part(case, student, teacher, labels)
    close = soft_part(case, half, teacher.bfloat16(), labels)
    assert close.dtype == torch.float32
    torch.testing.assert_close(close, exact, rtol=0.03, atol=0.03)
    exact.backward()
    close.backward()
    assert student.grad is not None and half.grad is not None
    scale = float(student.grad.abs().max())
    torch.testing.assert_close(half.grad.float(), student.grad, rtol=0.05, atol=0.05 * scale)


@EVERY
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("certain", ["student", "teacher", "both"])
def test_certain_models_give_finite_numbers(case: Case, certain: str, size: float) -> None:
    """Whether the labels agree or not."""
    student, teacher, labels = draw()
    sure = torch.zeros_like(student).index_fill_(1, torch.tensor([0]), size)
    student = (sure if certain != "teacher" else student).requires_grad_()
    teacher = sure if certain != "student" else teacher
    labels[:3] = 0
    loss = soft_part(case, student, teacher, labels)
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


def fit(classes: int, kind: str = "classification") -> Fit:
    problem = Problem(kind, tuple(f"c{i}" for i in range(classes)))  # type: ignore[arg-type]
    return Fit(problem, BertConfig(), BertConfig())


@EVERY
def test_too_few_classes_are_refused_with_the_reason(case: Case) -> None:
    case.make().prepare(fit(3))
    if case.classes > 2:
        with pytest.raises(ConfigError, match="because"):
            case.make().prepare(fit(2))
    else:
        case.make().prepare(fit(2))


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("hinton", "mse_logits")])
def test_regression_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="regression"):
        CASES[name].make().prepare(fit(1, "regression"))


@pytest.mark.parametrize("name", ["hinton", "mse_logits"])
def test_regression_compares_numbers(name: str) -> None:
    case = CASES[name]
    case.make().prepare(fit(1, "regression"))
    student, teacher, _ = draw(classes=1)
    found = terms(case, student, teacher, torch.linspace(0, 5, 7))
    torch.testing.assert_close(
        found["soft"].mean(of_rows(student)), (student - teacher).square().mean()
    )


def test_ends_of_the_jsd_are_the_two_divergences() -> None:
    student, teacher, _ = draw()
    torch.testing.assert_close(jsd(student, teacher, 2.0, 0.0), soft_loss(student, teacher, 2.0))
    torch.testing.assert_close(jsd(student, teacher, 2.0, 1.0), reverse_kl(student, teacher, 2.0))
    near = jsd(student, teacher, 2.0, 1e-3) / 1e-3
    torch.testing.assert_close(near, soft_loss(student, teacher, 2.0), rtol=0.02, atol=1e-3)


def test_no_skew_is_the_plain_divergence() -> None:
    student, teacher, _ = draw()
    forward = skew_kl(student, teacher, 2.0, 0.0, "forward")
    torch.testing.assert_close(forward, soft_loss(student, teacher, 2.0))
    reverse = skew_kl(student, teacher, 2.0, 0.0, "reverse")
    torch.testing.assert_close(reverse, reverse_kl(student, teacher, 2.0))


@pytest.mark.parametrize("beta", [-0.1, 1.1])
def test_beta_out_of_range(beta: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.beta"):
        JSD(beta=beta)


@pytest.mark.parametrize("alpha", [-0.1, 1.0])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.alpha"):
        SkewKL(alpha=alpha)


def test_every_shipped_objective_has_a_source() -> None:
    for path in (conf_dir() / "objective").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "https://arxiv.org/abs/" in text, path.name
        target = next(line for line in text.splitlines() if line.startswith("_target_"))
        module = inspect.getmodule(locate(target.split(": ")[1]))
        assert module is not None and "arXiv" in inspect.getsource(module), path.name
