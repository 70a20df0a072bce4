"""Comparisons of attention, a few rows of the batch at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

from torch import Tensor

from distill_lab.objectives.by_rows import Cut, in_pieces
from distill_lab.types import Attention

P = ParamSpec("P")
_PIECE = {"cpu": 2**17}  # pairs of tokens, in all heads, that are compared at once
_ELSEWHERE = 2**26


def by_batch(
    function: Callable[Concatenate[Attention, Attention, Tensor, P], Tensor],
) -> Callable[Concatenate[Attention, Attention, Tensor, P], Tensor]:
    """Let a comparison of attention work through a batch in pieces, each without its padding.

    Maps of `[batch, heads, length, length]` are many times as large as what they are computed from.
    Piece by piece they stay in the cache, and only the gradients of queries, keys and values are
    kept.

    Args:
        function: Takes the student's attention, the teacher's with as many heads, and the mask
            `[batch, length]`; returns a scalar that is a sum over rows and heads. What comes out is
            the mean over heads.
    """

    @functools.wraps(function)
    def pieces(
        student: Attention, teacher: Attention, mask: Tensor, *args: P.args, **kwargs: P.kwargs
    ) -> Tensor:
        _, heads, length, _ = student.queries.shape
        step = max(1, _PIECE.get(mask.device.type, _ELSEWHERE) // (heads * length**2))
        if step >= len(mask):
            return function(student, teacher, mask, *args, **kwargs) / heads

        def part(cut: Cut, *vectors: Tensor) -> Tensor:
            ours = _piece(student, vectors, cut)
            theirs = _piece(teacher, [x[cut] for x in _vectors(teacher)], cut)
            return function(ours, theirs, mask[cut[0], cut[2]], *args, **kwargs)

        return in_pieces(part, _cuts(mask, step), *_vectors(student)) / heads

    return pieces  # type: ignore[return-value]  # wraps names the first arguments


def _cuts(mask: Tensor, step: int) -> list[Cut]:
    """Return rows, heads and tokens of each piece: those from its first token to its last."""
    first = mask.int().argmax(dim=1).tolist()
    after = mask.int().flip(1).argmax(dim=1).tolist()
    return [
        (rows, slice(None), slice(min(first[rows]), mask.shape[1] - min(after[rows])))
        for rows in (slice(start, start + step) for start in range(0, len(mask), step))
    ]


def _vectors(side: Attention) -> tuple[Tensor, Tensor, Tensor]:
    return side.queries, side.keys, side.values


def _piece(side: Attention, vectors: Sequence[Tensor], cut: Cut) -> Attention:
    """Return the attention of a piece, whose vectors are cut already."""
    queries, keys, values = vectors
    if side.allowed is None:
        return Attention(queries, keys, values, side.scale)
    rows, _, tokens = cut
    batch, _, length, _ = side.queries.shape
    heads = side.allowed.shape[1] if side.allowed.dim() == 4 else 1
    allowed = side.allowed.expand(batch, heads, length, length)[rows, :, tokens, tokens]
    # Most pieces have no padding left, and what hides nothing need not be looked at again.
    hides = allowed.device.type != "cpu" or not allowed.all()
    return Attention(queries, keys, values, side.scale, allowed if hides else None)
