"""MiniLMv2: relations among queries, keys and values, Wang et al. 2021."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from distill_lab.attention import head_width
from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.minilm import Part, relation_kl
from distill_lab.objectives.relations import needs_attention
from distill_lab.objectives.teacher_layer import check_layer
from distill_lab.types import Attention, Batch, Fit, Needs, Outputs, Term, Wanted


def redivided(attention: Attention, relation_heads: int) -> Attention:
    """Return attention whose vectors are put side by side and divided anew.

    Wang et al. 2021 (arXiv 2012.15828), section 3.1: so models with other numbers of heads can be
    compared.

    Args:
        attention: One layer's.
        relation_heads: How many parts; divides heads times width.
    """
    queries, keys, values = (
        vectors.transpose(1, 2)
        .reshape(len(vectors), vectors.shape[2], relation_heads, -1)
        .transpose(1, 2)
        for vectors in (attention.queries, attention.keys, attention.values)
    )
    return replace(attention, queries=queries, keys=keys, values=values)


class MiniLMv2(Objective):
    """`(1 - lam) * hard + lam * (KL of Q-Q + KL of K-K + KL of V-V relations) / 3`, last layers.

    The paper distils without labels (λ = 1) before fine-tuning; with λ = 1 a classification head
    learns nothing. It takes an upper middle layer of teachers with 24 layers.

    Args:
        lam: λ, the weight of the relations, 0 to 1.
        relation_heads: Parts that queries, keys and values are divided into; must divide both
            models' heads times their width.
        teacher_layer: Which layer teaches, counted from 1; None is the last.

    Raises:
        ConfigError: If there is no relation head.
    """

    scheduled = ("lam",)
    all_logits = False
    inside = True

    def __init__(
        self, *, lam: float = 0.5, relation_heads: int = 48, teacher_layer: int | None = None
    ) -> None:
        super().__init__(lam=lam)
        if relation_heads < 1:
            raise ConfigError(f"objective.relation_heads={relation_heads}: at least 1 is needed")
        self.relation_heads = relation_heads
        self.teacher_layer = teacher_layer
        self.last = (0, 0)

    def prepare(self, fit: Fit) -> None:
        """Settle the layers; refuse widths that the relation heads do not divide."""
        needs_attention(fit, "minilm_v2")
        self.last = check_layer(fit, self.teacher_layer)
        self.needs = Needs(*(Wanted(attention=(layer,)) for layer in self.last))
        for role, config in (("student", fit.student), ("teacher", fit.teacher)):
            width = head_width(config) * config.num_attention_heads
            if width % self.relation_heads:
                raise ConfigError(
                    f"objective.relation_heads={self.relation_heads}: does not divide the"
                    f" {role}'s width of {width}; take a common divisor of both widths"
                )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `queries`, `keys` and `values`."""
        s = redivided(student.attention[self.last[0]], self.relation_heads)
        t = redivided(teacher.attention[self.last[1]], self.relation_heads)
        found = {"hard": Term(hard_loss(student.logits, batch.labels), "answers", 1 - self.lam)}
        for part in get_args(Part):
            kl = relation_kl(s, t, batch.mask, part)
            found[part] = Term(kl, "tokens", self.lam / 3)
        return found
