"""MiniLM: the last layer's attention and the relations of its values, Wang et al. 2020."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from distill_lab.objectives.attention import attention_distance
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.pairwise import among, compared
from distill_lab.objectives.relations import needs_attention, needs_heads, rows_kl
from distill_lab.objectives.teacher_layer import check_layer
from distill_lab.types import Attention, Batch, Fit, Needs, Outputs, Term, Wanted

Part = Literal["queries", "keys", "values"]


def relation_kl(student: Attention, teacher: Attention, mask: Tensor, part: Part) -> Tensor:
    """Return KL of the scaled products among values, queries or keys, mean over heads.

    Wang et al. 2020 (arXiv 2002.10957), section 3.2: `softmax(V Vᵀ / sqrt(d))`; the widths of the
    heads may differ.

    Args:
        student: One layer's attention.
        teacher: One layer's attention, with as many heads; no gradient flows to it.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
        part: "queries", "keys" or "values".

    Returns:
        A scalar in float32, summed over the tokens.
    """
    s, t = (among(getattr(side, part), side) for side in (student, teacher))
    return compared(rows_kl, [(s, t)], mask)[0]


class MiniLM(Objective):
    """`(1 - lam) * hard + lam * (KL of attention + KL of value relations)`, last layers.

    The paper distils without labels (λ = 1) before fine-tuning; with λ = 1 a classification head
    learns nothing.

    Args:
        lam: λ, the weight of the relations, 0 to 1.
        teacher_layer: Which layer teaches, counted from 1; None is the last.
    """

    scheduled = ("lam",)
    all_logits = False
    inside = True

    def __init__(self, *, lam: float = 0.5, teacher_layer: int | None = None) -> None:
        super().__init__(lam=lam)
        self.teacher_layer = teacher_layer
        self.last = (0, 0)

    def prepare(self, fit: Fit) -> None:
        """Settle the layers; refuse models whose attention cannot be compared."""
        needs_attention(fit, "minilm")
        needs_heads(fit, "minilm", "use objective=minilm_v2, which re-divides the heads")
        self.last = check_layer(fit, self.teacher_layer)
        self.needs = Needs(*(Wanted(attention=(layer,)) for layer in self.last))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `attention` and `values`."""
        s, t = student.attention[self.last[0]], teacher.attention[self.last[1]]
        (attention,) = attention_distance([(s, t)], batch.mask, "kl")
        return {
            "hard": Term(hard_loss(student.logits, batch.labels), "answers", 1 - self.lam),
            "attention": Term(attention, "tokens", self.lam),
            "values": Term(relation_kl(s, t, batch.mask, "values"), "tokens", self.lam),
        }
