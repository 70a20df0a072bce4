"""Patient knowledge distillation: Sun et al. 2019."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.attention import is_causal
from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective, check_weight, needs_classes
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.hinton import soft_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Term, Wanted

Strategy = Literal["skip", "last"]


def patient_pairs(student: int, teacher: int, strategy: Strategy) -> list[tuple[int, int]]:
    """Return which layers are compared, counted from 1; the last ones never are.

    Args:
        student: Layers of the student.
        teacher: Layers of the teacher.
        strategy: "skip" goes through the teacher evenly (2, 4, 6, 8, 10 for 6 of 12), "last" takes
            the layers below its last one (7 to 11).
    """
    if strategy == "last":
        return [(i, teacher - student + i) for i in range(1, student)]
    return [(i, round(i * teacher / student)) for i in range(1, student)]


def patient_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared distance of first tokens scaled to length 1, summed over rows.

    Sun et al. 2019 (arXiv 1908.09355), equation 7, as mean over the width: the β of the paper's
    search (10 to 1000) belong to the authors' code, which takes that mean where the equation has
    a sum.

    Args:
        student: Hidden states `[batch, length, width]`.
        teacher: Hidden states of the same shape; no gradient flows to them.

    Returns:
        A scalar in float32.
    """
    s = F.normalize(student[:, 0].float(), dim=-1)
    t = F.normalize(teacher.detach()[:, 0].float(), dim=-1)
    return (s - t).square().mean(dim=-1).sum()


class PKD(Objective):
    """`(1 - lam) * CE + lam * T² * KL + beta * patient`, patient a mean over layer pairs.

    The authors' code divides the divergence by the number of classes besides: 0.7 in their
    settings weighs it as 0.35 on two classes.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the divergence against the labels, 0 to 1.
        beta: Weight of the intermediate layers.
        strategy: "skip" or "last", see `patient_pairs`.

    Raises:
        ConfigError: If β is negative.
    """

    all_logits = False
    inside = True

    def __init__(
        self,
        *,
        temperature: float = 10.0,
        lam: float = 0.7,
        beta: float = 500.0,
        strategy: Strategy = "skip",
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        check_weight(beta, "objective.beta")
        self.beta = beta
        self.inside = beta > 0
        self.strategy: Strategy = strategy
        self.pairs: list[tuple[int, int]] = []

    def prepare(self, fit: Fit) -> None:
        """Settle the layer pairs; refuse what has no first token, no layer between, or no width."""
        needs_classes(fit, 2, "pkd", "one class has no probabilities to compare")
        if self.beta == 0:
            return
        layers = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        if layers[0] < 2:
            raise ConfigError("objective=pkd: a student of 1 layer has none below its last one")
        if layers[0] > layers[1]:
            raise ConfigError(
                f"objective=pkd: the student has {layers[0]} layers, the teacher only {layers[1]}"
            )
        if is_causal(fit.student) or is_causal(fit.teacher):
            raise ConfigError(
                "objective=pkd: it compares the first token, which in a model that looks left sees"
                " nothing of the text; use objective=hidden"
            )
        widths = fit.student.hidden_size, fit.teacher.hidden_size
        if widths[0] != widths[1]:
            raise ConfigError(
                f"objective=pkd: the student is {widths[0]} wide, the teacher {widths[1]}; use"
                " objective=hidden, which projects"
            )
        self.pairs = patient_pairs(*layers, self.strategy)
        self.needs = Needs(*(Wanted(side) for side in zip(*self.pairs, strict=True)))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `soft` and, if it has a weight, `patient`."""
        soft = compared(soft_loss, student, teacher, self.temperature)
        found = self.mixed(student, batch, soft, self.temperature**2)
        if self.beta > 0:
            distances = [
                patient_distance(student.hidden_states[s], teacher.hidden_states[t])
                for s, t in self.pairs
            ]
            found["patient"] = Term(torch.stack(distances).mean(), "rows", self.beta)
        return found
