"""Gradients of losses on logits against their closed forms, and what they tend to at a large T.

Derived by hand with q and p, the student's and the teacher's probabilities at T: for a loss D,
`dD/ds = q * (g - <q, g>) / T`, where g is D's derivative in q.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from distill_lab.objectives.base import Objective
from distill_lab.objectives.dist import DIST
from distill_lab.objectives.dkd import DKD
from distill_lab.objectives.hinton import Hinton
from distill_lab.objectives.jsd import JSD
from distill_lab.objectives.logit_standardized import LogitStandardized
from distill_lab.objectives.mse_logits import MseLogits
from distill_lab.objectives.reverse_kl import ReverseKL
from distill_lab.objectives.skew_kl import SkewKL
from distill_lab.types import Batch, Outputs

ROWS, CLASSES = 7, 5
Given = tuple[Tensor, Tensor, Tensor]
Formula = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def given(seed: int = 0) -> Given:
    """Logits of student and teacher, and labels."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(ROWS, CLASSES, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(CLASSES, (ROWS,), generator=generator)


def loss(objective: Objective, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """What is trained on."""
    batch = Batch(torch.arange(ROWS), {}, labels)
    terms = objective(Outputs(student), Outputs(teacher), batch)
    return torch.stack([term.part(batch) for term in terms.values()]).sum()


def softmax(logits: Tensor) -> Tensor:
    powers = logits.exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def through(q: Tensor, g: Tensor) -> Tensor:
    """A derivative in probabilities as one in logits."""
    return q * (g - (q * g).sum(dim=-1, keepdim=True))


def reverse(q: Tensor, p: Tensor, labels: Tensor, t: float) -> Tensor:
    return through(q, (q / p).log())


def jensen(beta: float) -> Formula:
    def formula(q: Tensor, p: Tensor, labels: Tensor, t: float) -> Tensor:
        return (1 - beta) * through(q, (q / (beta * p + (1 - beta) * q)).log())

    return formula


def skew_forward(alpha: float) -> Formula:
    def formula(q: Tensor, p: Tensor, labels: Tensor, t: float) -> Tensor:
        return -(1 - alpha) * through(q, p / (alpha * p + (1 - alpha) * q))

    return formula


def skew_reverse(alpha: float) -> Formula:
    def formula(q: Tensor, p: Tensor, labels: Tensor, t: float) -> Tensor:
        mixture = alpha * q + (1 - alpha) * p
        return through(q, (q / mixture).log() - alpha * q / mixture)

    return formula


def decoupled(alpha: float, beta: float) -> Formula:
    def formula(q: Tensor, p: Tensor, labels: Tensor, t: float) -> Tensor:
        found = torch.zeros_like(q)
        for row, y in enumerate(labels.tolist()):
            apart = p[row, y] - q[row, y]
            for i in range(CLASSES):
                if i == y:
                    found[row, i] = -alpha * apart
                    continue
                q_among, p_among = q[row, i] / (1 - q[row, y]), p[row, i] / (1 - p[row, y])
                found[row, i] = alpha * q_among * apart + beta * (q_among - p_among)
        return found

    return formula


GRADIENTS: list[tuple[Callable[[float], Objective], Formula]] = [
    (lambda t: Hinton(temperature=t, lam=1.0), lambda q, p, labels, t: q - p),
    (lambda t: ReverseKL(temperature=t, lam=1.0), reverse),
    (lambda t: JSD(temperature=t, lam=1.0, beta=0.3), jensen(0.3)),
    (lambda t: SkewKL(temperature=t, lam=1.0, alpha=0.2), skew_forward(0.2)),
    (lambda t: SkewKL(temperature=t, lam=1.0, alpha=0.2, direction="reverse"), skew_reverse(0.2)),
    (lambda t: DKD(temperature=t, lam=1.0, alpha=0.7, beta=3.0), decoupled(0.7, 3.0)),
]
NAMES = ["hinton", "reverse_kl", "jsd", "skew_kl", "skew_kl_reverse", "dkd"]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(("made", "formula"), GRADIENTS, ids=NAMES)
def test_the_gradient_has_its_closed_form(
    made: Callable[[float], Objective], formula: Formula, temperature: float
) -> None:
    student, teacher, labels = given()
    student.requires_grad_()
    loss(made(temperature), student, teacher, labels).backward()
    q, p = (softmax(x.detach().double() / temperature) for x in (student, teacher))
    expected = temperature * formula(q, p, labels, temperature) / ROWS  # T² / T
    assert student.grad is not None
    torch.testing.assert_close(student.grad.double(), expected, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_the_squared_distance_is_the_centred_difference() -> None:
    student, teacher, labels = given()
    student.requires_grad_()
    loss(MseLogits(lam=1.0), student, teacher, labels).backward()
    torch.testing.assert_close(student.grad, 2 * centred(student, teacher) / CLASSES / ROWS)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_gradient_of_standardised_logits_leaves_out_mean_and_scale(temperature: float) -> None:
    student, teacher, labels = given()
    student.requires_grad_()
    objective = LogitStandardized(temperature=temperature, lam=1.0)
    loss(objective, student, teacher, labels).backward()
    s, t = (standard(x.detach().double()) for x in (student, teacher))
    g = temperature * (softmax(s / temperature) - softmax(t / temperature)) / ROWS
    along = (g * s).sum(dim=-1, keepdim=True) / (CLASSES - 1)
    scale = student.detach().double().std(dim=-1, keepdim=True)
    expected = (g - g.mean(dim=-1, keepdim=True) - s * along) / scale
    assert student.grad is not None
    torch.testing.assert_close(student.grad.double(), expected, rtol=1e-4, atol=1e-6)


def centred(student: Tensor, teacher: Tensor) -> Tensor:
    apart = student.detach() - teacher
    return apart - apart.mean(dim=-1, keepdim=True)


def standard(logits: Tensor) -> Tensor:
    return (logits - logits.mean(dim=-1, keepdim=True)) / logits.std(dim=-1, keepdim=True)


def half_squares(apart: Tensor) -> float:
    """Half the mean over classes of what is squared, mean over rows."""
    return float(apart.square().mean(dim=-1).mean()) / 2


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Of rows."""
    x, y = (v - v.mean(dim=-1, keepdim=True) for v in (x, y))
    return (x * y).sum(dim=-1) / (x.norm(dim=-1) * y.norm(dim=-1))


def of_hinton(s: Tensor, t: Tensor, labels: Tensor) -> float:
    return half_squares(centred(s, t))


def of_decoupled(s: Tensor, t: Tensor, labels: Tensor) -> float:
    """The target class against all others, and the others centred among themselves."""
    rest = torch.ones_like(s, dtype=torch.bool).scatter(1, labels[:, None], False)
    target = centred(s, t)[~rest].square() / (2 * (CLASSES - 1))
    others = [x[rest].view(ROWS, CLASSES - 1) for x in (s, t)]
    return 0.7 * float(target.mean()) + 3.0 * half_squares(centred(others[0], others[1]))


def of_standardized(s: Tensor, t: Tensor, labels: Tensor) -> float:
    return half_squares(standard(s) - standard(t))


LIMITS: list[tuple[Objective, Callable[[Tensor, Tensor, Tensor], float]]] = [
    (Hinton(temperature=200.0, lam=1.0), of_hinton),
    (ReverseKL(temperature=200.0, lam=1.0), of_hinton),
    (JSD(temperature=200.0, lam=1.0, beta=0.3), lambda *x: 0.3 * 0.7 * of_hinton(*x)),
    (SkewKL(temperature=200.0, lam=1.0, alpha=0.2), lambda *x: 0.8**2 * of_hinton(*x)),
    (SkewKL(temperature=200.0, lam=1.0, alpha=0.2, direction="reverse"),
     lambda *x: 0.8**2 * of_hinton(*x)),
    (DKD(temperature=200.0, lam=1.0, alpha=0.7, beta=3.0), of_decoupled),
    (LogitStandardized(temperature=200.0, lam=1.0), of_standardized),
]  # fmt: skip


@pytest.mark.parametrize(("objective", "limit"), LIMITS, ids=[*NAMES, "logit_standardized"])
def test_at_a_large_temperature_squared_distances_are_left(
    objective: Objective, limit: Callable[[Tensor, Tensor, Tensor], float]
) -> None:
    student, teacher, labels = given()
    found = loss(objective, student, teacher, labels).item()
    assert found == pytest.approx(limit(student, teacher, labels), rel=0.03)


def test_at_a_large_temperature_dist_correlates_logits() -> None:
    student, teacher, labels = given()
    batch = Batch(torch.arange(ROWS), {}, labels)
    terms = DIST(temperature=200.0)(Outputs(student), Outputs(teacher), batch)
    inter, intra = (float(terms[name].mean(batch)) for name in ("inter", "intra"))
    columns = [(x - x.mean(dim=-1, keepdim=True)).T for x in (student, teacher)]
    assert inter == pytest.approx(float((1 - pearson(student, teacher)).mean()), rel=0.03)
    assert intra == pytest.approx(float((1 - pearson(*columns)).mean()), rel=0.03)
