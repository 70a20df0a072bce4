"""Comparisons of all pairs of a layer's vectors, a few rows of the batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill_lab.objectives.relations import seen
from distill_lab.types import Attention

Compare = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes scores of student and teacher, float32 `[rows, heads, length, length]`, which it may
overwrite, and which pairs count; returns the sum over them and its gradient for the student's."""
Cut = tuple[slice, slice]
"""Rows of the batch, and tokens."""
_PIECE = {"cpu": 2**17}  # pairs of tokens, in all heads, that are compared at once
_ELSEWHERE = 2**26


def compared(compare: Compare, student: Attention, teacher: Attention, mask: Tensor) -> Tensor:
    """Return a comparison of two layers' scores, mean over heads, padding left out.

    Maps of `[batch, heads, length, length]` are many times as large as what they are computed from.
    Piece by piece they stay in the cache; the gradient is computed on the way, in closed form, and
    of it only that of queries and keys is kept. Autograd would take twice the time.

    Args:
        compare: Compares the scores of a piece; a sum over rows and heads.
        student: One layer's attention.
        teacher: One layer's attention, with as many heads; no gradient flows to it.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.

    Returns:
        A scalar in float32.
    """
    total: Tensor = _Compared.apply(  # type: ignore[no-untyped-call]
        compare, student, teacher, mask, student.queries, student.keys
    )
    return total / student.queries.shape[1]


def among(vectors: Tensor, attention: Attention) -> Attention:
    """Return attention whose scores are the scaled products among some vectors.

    Args:
        vectors: `[batch, heads, length, width]`; the scale is `width ** -0.5`.
        attention: Tells which pairs see each other.
    """
    return replace(attention, queries=vectors, keys=vectors, scale=vectors.shape[-1] ** -0.5)


class _Compared(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compare: Compare,
        student: Attention,
        teacher: Attention,
        mask: Tensor,
        queries: Tensor,
        keys: Tensor,
    ) -> Tensor:
        """Sum over the pieces; keep the gradients of queries and keys."""
        needed = ctx.needs_input_grad[4] or ctx.needs_input_grad[5]
        same = queries is keys
        # In float32, for a scaled loss may come before small gradients are rounded.
        ours = torch.zeros_like(queries, dtype=torch.float32) if needed else None
        theirs = torch.zeros_like(keys, dtype=torch.float32) if needed and not same else None
        total = torch.zeros((), dtype=torch.float32, device=mask.device)
        for cut in _cuts(mask, student.queries.shape[1]):
            s, t, tokens = _piece(student, cut), _piece(teacher, cut), mask[cut]
            value, gradient = compare(s.scores, t.scores, seen(s, t, tokens))
            total += value
            rows, at = cut
            if ours is None:
                continue
            if theirs is None:
                gradient = gradient + gradient.transpose(-1, -2)
            else:
                theirs[rows, :, at] = gradient.transpose(-1, -2) @ (s.queries.float() * s.scale)
            ours[rows, :, at] = gradient @ (s.keys.float() * s.scale)
        ctx.gradients, ctx.dtype = (ours, theirs), queries.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients."""
        scaled = (x if x is None else (x * outer).to(ctx.dtype) for x in ctx.gradients)
        return None, None, None, None, *scaled


def _cuts(mask: Tensor, heads: int) -> list[Cut]:
    """Return rows and tokens of each piece: those from its first token to its last."""
    rows, length = mask.shape
    step = max(1, _PIECE.get(mask.device.type, _ELSEWHERE) // (heads * length**2))
    pieces = [slice(start, start + step) for start in range(0, rows, step)]
    if mask.device.type != "cpu":  # a GPU would wait to tell where they are
        return [(piece, slice(0, length)) for piece in pieces]
    first = mask.int().argmax(dim=1).tolist()
    after = mask.int().flip(1).argmax(dim=1).tolist()
    return [(piece, slice(min(first[piece]), length - min(after[piece]))) for piece in pieces]


def _piece(side: Attention, cut: Cut) -> Attention:
    rows, tokens = cut
    queries, keys = (x[rows, :, tokens] for x in (side.queries, side.keys))
    if side.allowed is None:
        return replace(side, queries=queries, keys=keys)
    batch, _, length, _ = side.queries.shape
    heads = side.allowed.shape[1] if side.allowed.dim() == 4 else 1
    allowed = side.allowed.expand(batch, heads, length, length)[rows, :, tokens, tokens]
    # Most pieces have no padding left, and what hides nothing need not be looked at again.
    hides = allowed.device.type != "cpu" or not allowed.all()
    return replace(side, queries=queries, keys=keys, allowed=allowed if hides else None)
