"""One table of the response-based objectives; every generic test is parametrised over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from distill_lab.objectives import Objective
from distill_lab.objectives.dist import DIST
from distill_lab.objectives.dkd import DKD
from distill_lab.objectives.hinton import Hinton
from distill_lab.objectives.jsd import JSD
from distill_lab.objectives.logit_standardized import LogitStandardized
from distill_lab.objectives.mse_logits import MseLogits
from distill_lab.objectives.reverse_kl import ReverseKL
from distill_lab.objectives.skew_kl import SkewKL
from distill_lab.types import Batch, Outputs, Term
from tests.objectives import references


@dataclass(frozen=True)
class Case:
    """An objective with settings, its reference, and which properties it has.

    `weights` are the weights of its terms; `row_wise` says that a row's part of the loss depends on
    that row alone; `classes` is the least number of classes.
    """

    objective: type[Objective]
    settings: dict[str, Any]
    reference: Callable[..., dict[str, float]]
    weights: dict[str, float]
    row_wise: bool = True
    classes: int = 2
    extra: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Objective:
        return self.objective(**self.settings, **self.extra)


def _soft(objective: type[Objective], reference: Any, classes: int = 2, **extra: Any) -> Case:
    settings = {"temperature": 3.0, "lam": 0.3}
    weights = {"hard": 0.7, "soft": 0.3 * 9}
    return Case(objective, settings, reference, weights, classes=classes, extra=extra)


CASES = {
    "hinton": _soft(Hinton, references.hinton),
    "mse_logits": Case(MseLogits, {"lam": 0.3}, references.mse_logits, {"hard": 0.7, "soft": 0.3}),
    "dkd": Case(
        DKD,
        {"temperature": 3.0, "lam": 0.3},
        references.dkd,
        {"hard": 0.7, "target": 0.3 * 9 * 2.0, "others": 0.3 * 9 * 5.0},
        classes=3,
        extra={"alpha": 2.0, "beta": 5.0},
    ),
    "dist": Case(
        DIST,
        {"temperature": 3.0, "lam": 0.3},
        references.dist,
        {"hard": 0.7, "inter": 0.3 * 9 * 2.0, "intra": 0.3 * 9 * 5.0},
        row_wise=False,
        classes=3,
        extra={"beta": 2.0, "gamma": 5.0},
    ),
    "logit_standardized": _soft(LogitStandardized, references.logit_standardized, classes=3),
    "reverse_kl": _soft(ReverseKL, references.reverse_kl),
    "jsd": _soft(JSD, references.jsd, beta=0.3),
    "skew_kl forward": _soft(SkewKL, references.skew_kl, alpha=0.2, direction="forward"),
    "skew_kl reverse": _soft(SkewKL, references.skew_kl, alpha=0.2, direction="reverse"),
}


def draw(rows: int = 7, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of student and teacher, and labels."""
    generator = torch.Generator().manual_seed(seed)
    student = 2 * torch.randn(rows, classes, generator=generator)
    teacher = 2 * torch.randn(rows, classes, generator=generator)
    return student, teacher, torch.randint(classes, (rows,), generator=generator)


def terms(case: Case, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Term]:
    found: dict[str, Term] = case.make()(Outputs(student), Outputs(teacher), of_rows(labels))
    return found


def soft_part(case: Case, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """The weighted loss without its hard term."""
    found = terms(case, student, teacher, labels)
    batch = of_rows(labels)
    return torch.stack([t.part(batch) for name, t in found.items() if name != "hard"]).sum()


def of_rows(labels: Tensor) -> Batch:
    """A batch of which only labels are known."""
    return Batch(torch.arange(len(labels)), {}, labels)
