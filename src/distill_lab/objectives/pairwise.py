"""Comparisons of all pairs of a layer's vectors, a few rows of the batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill_lab.types import Attention

Compare = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""Takes scores of student and teacher, float32 `[rows, heads, length, length]`, which it may
overwrite, and which pairs count, None for all; returns the sum over them and its gradient for the
student's."""
_PIECE = {"cpu": 2**18}  # pairs of tokens, in all heads, that are compared at once
_ELSEWHERE = 2**26


class Piece(NamedTuple):
    """What is compared at once.

    Attributes:
        rows: Of the batch: a slice, or their positions.
        tokens: From the first token of these rows to the last.
        whole: Whether it is known to hold no padding.
    """

    rows: slice | Tensor
    tokens: slice
    whole: bool = False

    def of(self, values: Tensor) -> Tensor:
        """Return the piece's rows."""
        rows = self.rows
        return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)

    def put(self, values: Tensor, into: Tensor) -> None:
        """Write what belongs to the piece's rows and tokens, `[rows, heads, tokens, width]`."""
        place = into[:, :, self.tokens]
        if isinstance(self.rows, slice):
            place[self.rows] = values
        else:
            place.index_copy_(0, self.rows, values)


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
        # In float32, for a scaled loss may come before small gradients are rounded.
        ours = torch.zeros_like(queries, dtype=torch.float32) if needed else None
        theirs = None
        if needed and queries is not keys:
            theirs = torch.zeros_like(keys, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=mask.device)
        tokens = mask.bool()
        allowed = [_beyond_padding(side.allowed, tokens) for side in (student, teacher)]
        for piece in _plan(mask, queries.shape[1]):
            q, k = _vectors(student, piece)
            t_q, t_k = _vectors(teacher, piece)
            pairs = _pairs(tokens, allowed, piece)
            value, gradient = compare(q @ k.mT, t_q @ t_k.mT, pairs)
            total += value
            if ours is None:
                continue
            if theirs is None:
                gradient = gradient + gradient.mT
            else:
                piece.put(gradient.mT @ q, theirs)
            piece.put((gradient @ k).mul_(student.scale), ours)
        ctx.gradients, ctx.dtype = (ours, theirs), queries.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients."""
        scaled = (x if x is None else (x * outer).to(ctx.dtype) for x in ctx.gradients)
        return None, None, None, None, *scaled


def _plan(mask: Tensor, heads: int) -> list[Piece]:
    """Return the pieces; rows of similar length go together, so that there is little padding."""
    rows, length = mask.shape
    most = _PIECE.get(mask.device.type, _ELSEWHERE)
    if mask.device.type != "cpu":  # a GPU would wait to tell how long they are
        step = max(1, most // (heads * length**2))
        return [Piece(slice(i, i + step), slice(0, length)) for i in range(0, rows, step)]
    first = mask.int().argmax(dim=1)
    last = length - mask.int().flip(1).argmax(dim=1)
    order = (last - first).argsort(stable=True)
    spans = torch.stack([first, last, mask.sum(dim=1)])[:, order].T.tolist()
    pieces, start = list[Piece](), 0
    for end in range(1, rows + 1):
        if end < rows and (end + 1 - start) * heads * _width(spans[start : end + 1]) ** 2 <= most:
            continue
        starts, ends, counts = zip(*spans[start:end], strict=True)
        at = slice(min(starts), max(ends))
        pieces.append(Piece(order[start:end], at, min(counts) == at.stop - at.start))
        start = end
    return pieces


def _width(spans: list[list[int]]) -> int:
    return max(span[1] for span in spans) - min(span[0] for span in spans)


def _vectors(side: Attention, piece: Piece) -> tuple[Tensor, Tensor]:
    """Return scaled queries and keys of a piece in float32."""
    queries, keys = (piece.of(x)[:, :, piece.tokens].float() for x in (side.queries, side.keys))
    return queries * side.scale, keys


def _beyond_padding(allowed: Tensor | None, tokens: Tensor) -> Tensor | None:
    """Return what a layer lets see each other, None where all tokens do, as far as is known."""
    if allowed is None:
        return None
    rows, length = tokens.shape
    if tokens.device.type == "cpu" and (allowed | ~_of_tokens(tokens)).all():
        return None
    heads = allowed.shape[1] if allowed.dim() == 4 else 1
    return allowed.expand(rows, heads, length, length)


def _pairs(tokens: Tensor, allowed: list[Tensor | None], piece: Piece) -> Tensor | None:
    """Return which pairs of a piece count: tokens, that both models let see each other."""
    hiding = [x for x in allowed if x is not None]
    if piece.whole and not hiding:
        return None
    pairs = _of_tokens(piece.of(tokens)[:, piece.tokens])
    for each in hiding:
        pairs = pairs & piece.of(each)[:, :, piece.tokens, piece.tokens]
    return pairs


def _of_tokens(mask: Tensor) -> Tensor:
    """Return which pairs are of tokens, none of padding, bool `[rows, 1, length, length]`."""
    return mask[:, None, :, None] & mask[:, None, None, :]
