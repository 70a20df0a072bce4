"""Decoupled knowledge distillation: Zhao et al. 2022."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.base import Objective, check_weight, needs_classes
from distill_lab.objectives.by_rows import by_rows
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Outputs, Term


@by_rows
def decoupled(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Divide Hinton's divergence into that of the target class and that among the others.

    Zhao et al. 2022 (arXiv 2203.08679), without T²: `KL = TCKD + (1 - p_y) NCKD`,
    and the paper weighs the two apart. Computed from log-probabilities throughout, where the
    authors' code takes the logarithm of a probability, which underflows in half precision.

    Args:
        student: Logits `[rows, classes]`.
        teacher: Logits `[rows, classes]`; no gradient flows to them.
        labels: Class ids `[rows]`.
        temperature: T, above 0.

    Returns:
        TCKD and NCKD, `[2]` in float32, each summed over the rows.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    target = F.one_hot(labels, student.shape[-1]).bool()
    q_target, q_rest, q_among = _split(log_q, target)
    p_target, p_rest, p_among = _split(log_p, target)
    tckd = p_target.exp() * (p_target - q_target) + p_rest.exp() * (p_rest - q_rest)
    nckd = (p_among.exp() * (p_among - q_among)).masked_fill(target, 0.0)
    return torch.stack([tckd.sum(), nckd.sum()])


def _split(logs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities of the target, of all others, and of each among the others."""
    others = logs.masked_fill(target, float("-inf"))
    rest = torch.logsumexp(others, dim=-1)
    # A finite stand-in keeps 0 * inf out of value and gradient; the entry is masked later.
    among = (logs - rest[:, None]).masked_fill(target, 0.0)
    return logs[target], rest, among


class DKD(Objective):
    """`(1 - lam) * CE + lam * T² * (alpha * TCKD + beta * NCKD)`.

    The paper's `CE + alpha * TCKD + beta * NCKD` is twice this at λ = 0.5. Its warm-up, a factor on
    the soft loss that reaches 1 after 20 epochs, has no equal here: `lam_schedule` goes over the
    whole training and takes from the labels what it gives to the teacher.

    Args:
        temperature: T, above 0.
        lam: λ, the weight of the soft loss, 0 to 1.
        alpha: Weight of the target class's part.
        beta: Weight of the part among the other classes.

    Raises:
        ConfigError: If a weight is negative.
    """

    needs_labels = True

    def __init__(
        self, *, temperature: float = 4.0, lam: float = 0.5, alpha: float = 1.0, beta: float = 8.0
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        check_weight(alpha, "objective.alpha")
        check_weight(beta, "objective.beta")
        self.alpha = alpha
        self.beta = beta

    def prepare(self, fit: Fit) -> None:
        """Refuse fewer than three classes."""
        needs_classes(fit, 3, "dkd", "its second term compares the classes besides the target")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `target` and `others`."""
        tckd, nckd = decoupled(student.logits, teacher.logits, batch.labels, self.temperature)
        scale = self.lam * self.temperature**2
        hard = hard_loss(student.logits, batch.labels)
        return {
            "hard": Term(hard, "answers", 1 - self.lam),
            "target": Term(tckd, "answers", scale * self.alpha),
            "others": Term(nckd, "answers", scale * self.beta),
        }
