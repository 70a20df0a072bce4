"""Attention transfer over the rows that attention's softmax gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.hidden import LayerMap, layer_pairs
from distill_lab.objectives.pairwise import compared
from distill_lab.objectives.relations import needs_attention, needs_heads, rows_kl, rows_mse
from distill_lab.types import Attention, Batch, Fit, Needs, Outputs, Term, Wanted

AttentionDistance = Literal["kl", "mse"]


def attention_distance(
    layers: Sequence[tuple[Attention, Attention]], mask: Tensor, distance: AttentionDistance
) -> Tensor:
    """Return how far layers' attention lies apart, mean over heads, padding left out.

    Wang et al. 2023 (arXiv 2305.15032), section 3: `KL(A_t || A_s)` of each row, or the squared
    difference of each entry, of attention after the softmax and before dropout.

    Args:
        layers: A student's layer and a teacher's with as many heads, to which no gradient flows.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
        distance: "kl", summed over the tokens, or "mse", summed over the pairs of tokens.

    Returns:
        A distance for each, float32 `[layers]`.
    """
    return compared(rows_kl if distance == "kl" else rows_mse, layers, mask)


class AttentionTransfer(Objective):
    """`(1 - lam) * hard + lam * mean over layer pairs of the distance of attention`.

    Args:
        lam: λ, the weight of the distance, 0 to 1.
        distance: "kl" or "mse".
        layers: Which layers are compared, counted from 1: "uniform" (the paper's skip), "last",
            or pairs `[student, teacher]`.
    """

    scheduled = ("lam",)
    all_logits = False
    inside = True

    def __init__(
        self,
        *,
        lam: float = 0.5,
        distance: AttentionDistance = "kl",
        layers: LayerMap | Sequence[Sequence[int]] = "uniform",
    ) -> None:
        super().__init__(lam=lam)
        self.distance: AttentionDistance = distance
        self.layers = layers
        self.pairs: list[tuple[int, int]] = []

    def prepare(self, fit: Fit) -> None:
        """Settle the layer pairs; refuse models whose attention cannot be compared."""
        needs_attention(fit, "attention")
        needs_heads(fit, "attention", "use objective=minilm_v2, which re-divides the heads")
        total = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        self.pairs = attention_pairs(*total, self.layers)
        sides = [tuple(sorted(set(side))) for side in zip(*self.pairs, strict=True)]
        self.needs = Needs(*(Wanted(attention=side) for side in sides))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `attention`."""
        layers = [(student.attention[s], teacher.attention[t]) for s, t in self.pairs]
        distances = attention_distance(layers, batch.mask, self.distance)
        unit: Literal["tokens", "token_pairs"] = (
            "tokens" if self.distance == "kl" else "token_pairs"
        )
        return {
            "hard": Term(hard_loss(student.logits, batch.labels), "answers", 1 - self.lam),
            "attention": Term(distances.mean(), unit, self.lam),
        }


def attention_pairs(
    student: int, teacher: int, layers: LayerMap | Sequence[Sequence[int]]
) -> list[tuple[int, int]]:
    """Return which layer's attention is held against which, counted from 1.

    Args:
        student: Layers of the student.
        teacher: Layers of the teacher.
        layers: See `objectives.hidden.layer_pairs`.

    Raises:
        ConfigError: If a pair names a layer that is not there.
    """
    pairs = layer_pairs(student, teacher, layers)
    if isinstance(layers, str):
        pairs = [(s, t) for s, t in pairs if s > 0]
        if any(t < 1 for _, t in pairs):
            raise ConfigError(
                f"objective.layers={layers}: of a student with {student} layers and a teacher with"
                f" {teacher}, the first layers would meet the teacher's embeddings, which have no"
                " attention; take a shallower student, or pairs [student, teacher]"
            )
        return pairs
    if any(s < 1 or t < 1 for s, t in pairs):
        raise ConfigError(f"objective.layers={layers}: the embeddings (0) have no attention")
    return pairs
