"""MiniLMv2: relations among queries, keys and values, Wang et al. 2021."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.objectives.by_batch import by_batch
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.relations import needs_attention, products, rows_kl, seen
from distill_lab.objectives.teacher_layer import check_layer
from distill_lab.types import Attention, Batch, Fit, Needs, Outputs, Term, Wanted

Part = Literal["queries", "keys", "values"]


def relation_scores(vectors: Tensor, relation_heads: int) -> Tensor:
    """Return scaled products of all pairs of tokens in each relation head.

    Wang et al. 2021 (arXiv 2012.15828), section 3.1: the attention heads' vectors are put side by
    side and divided anew, so that models with other numbers of heads can be compared.

    Args:
        vectors: Queries, keys or values, `[batch, heads, length, width]`.
        relation_heads: How many parts; divides heads times width.

    Returns:
        float32 `[batch, relation_heads, length, length]`.
    """
    batch, _, length, _ = vectors.shape
    joined = vectors.transpose(1, 2).reshape(batch, length, relation_heads, -1)
    return products(joined.transpose(1, 2))


@by_batch
def relation_kl(
    student: Attention, teacher: Attention, mask: Tensor, part: Part, relation_heads: int
) -> Tensor:
    """Return KL of the relations of queries, keys or values, mean over the relation heads.

    Args:
        student: One layer's attention.
        teacher: One layer's attention, of any heads and width.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
        part: "queries", "keys" or "values".
        relation_heads: See `relation_scores`.

    Returns:
        A scalar in float32, summed over the tokens.
    """
    s, t = (relation_scores(getattr(side, part), relation_heads) for side in (student, teacher))
    return rows_kl(s, t, seen(student, teacher, mask))


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
            head = getattr(config, "head_dim", None) or (
                config.hidden_size // config.num_attention_heads
            )
            width = head * config.num_attention_heads
            if width % self.relation_heads:
                raise ConfigError(
                    f"objective.relation_heads={self.relation_heads}: does not divide the"
                    f" {role}'s width of {width}; take a common divisor of both widths"
                )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard`, `queries`, `keys` and `values`."""
        s, t = student.attention[self.last[0]], teacher.attention[self.last[1]]
        found = {"hard": Term(hard_loss(student.logits, batch.labels), "rows", 1 - self.lam)}
        for part in get_args(Part):
            kl = relation_kl(s, t, batch.mask, part, self.relation_heads)
            found[part] = Term(kl, "tokens", self.lam / 3)
        return found
