"""One table of the distances between hidden states and attention, and layers to hold them against.

A layer is a dict of tensors: `hidden` `[batch, length, width]`, `queries`, `keys` and `values`
`[batch, heads, length, width]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from distill_lab.objectives.attention import attention_distance
from distill_lab.objectives.hidden import hidden_distance
from distill_lab.objectives.minilm import Part, relation_kl
from distill_lab.objectives.minilm_v2 import redivided
from distill_lab.objectives.pkd import patient_distance
from distill_lab.objectives.rkd import angle_relation, distance_relation, mean_of_tokens
from distill_lab.objectives.tinybert import score_distance
from distill_lab.types import Attention
from tests.objectives import inner_references as references

Layer = dict[str, Tensor]
Distance = Callable[[Layer, Layer, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A distance with its reference and what it looks at.

    `parts` are the tensors of a layer it depends on; `additive` says that rows add up; `empty` that
    a batch of nothing but padding makes sense.
    """

    distance: Distance
    reference: Callable[..., float]
    parts: tuple[str, ...]
    additive: bool = True
    empty: bool = True


def as_attention(layer: Layer) -> Attention:
    queries = layer["queries"]
    return Attention(queries, layer["keys"], layer["values"], queries.shape[-1] ** -0.5)


def _of_attention(function: Callable[..., Tensor], *args: Any) -> Distance:
    return lambda s, t, mask: function([(as_attention(s), as_attention(t))], mask, *args)[0]


def _of_relations(part: Part) -> Distance:
    return lambda s, t, mask: relation_kl(as_attention(s), as_attention(t), mask, part)


def _of_hidden(function: Callable[..., Tensor], *args: Any) -> Distance:
    return lambda s, t, mask: function(s["hidden"], t["hidden"], mask, *args)


def _redivided(part: str, s: Layer, t: Layer, mask: Tensor) -> Tensor:
    sides = (redivided(as_attention(side), 3) for side in (s, t))
    return relation_kl(*sides, mask, part)  # type: ignore[no-any-return]


def _of_pooled(function: Callable[[Tensor, Tensor], Tensor]) -> Distance:
    return lambda s, t, mask: function(
        mean_of_tokens(s["hidden"], mask), mean_of_tokens(t["hidden"], mask)
    )


QK = ("queries", "keys")
CASES = {
    "hidden mse": Case(
        _of_hidden(hidden_distance, "mse"), partial(references.hidden, distance="mse"), ("hidden",)
    ),
    "hidden cosine": Case(
        _of_hidden(hidden_distance, "cosine"),
        partial(references.hidden, distance="cosine"),
        ("hidden",),
    ),
    "patient": Case(
        lambda s, t, mask: patient_distance(s["hidden"], t["hidden"]),
        references.patient,
        ("hidden",),
        empty=False,
    ),
    "attention kl": Case(_of_attention(attention_distance, "kl"), references.attention_kl, QK),
    "attention mse": Case(_of_attention(attention_distance, "mse"), references.attention_mse, QK),
    "scores": Case(_of_attention(score_distance), references.scores_mse, QK),
    "values": Case(_of_relations("values"), references.values_kl, ("values",)),
    **{
        f"{part} redivided": Case(
            partial(_redivided, part),
            partial(references.redivided, part=part, relation_heads=3),
            (part,),
        )
        for part in ("queries", "keys", "values")
    },
    "distances": Case(
        _of_pooled(distance_relation), references.distances, ("hidden",), additive=False
    ),
    "angles": Case(_of_pooled(angle_relation), references.angles, ("hidden",), additive=False),
}
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def layer(seed: int, dtype: torch.dtype = torch.float32) -> Layer:
    """Three rows of four tokens, six wide, in two heads of three."""
    generator = torch.Generator().manual_seed(seed)
    found = {"hidden": torch.randn(3, 4, 6, generator=generator)}
    for part in ("queries", "keys", "values"):
        found[part] = 2 * torch.randn(3, 2, 4, 3, generator=generator)
    return {name: value.to(dtype) for name, value in found.items()}
