"""Comparisons of all pairs of a layer's vectors, a few rows of the batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill_lab.types import Attention

_PIECE = {"cpu": 2**16}  # pairs of tokens, in all heads, that are compared at once
_ELSEWHERE = 2**26
_NARROW = 16  # width of a head


class Scores(NamedTuple):
    """One side's scores of a piece, not multiplied out.

    Attributes:
        queries: float32 `[rows, heads, tokens, width]`.
        keys: float32, the same shape.
        scale: What their products are multiplied by.
    """

    queries: Tensor
    keys: Tensor
    scale: float

    def all(self) -> Tensor:
        """Return the scores, float32 `[rows, heads, tokens, tokens]`."""
        nothing = self.queries.new_empty(1)
        found = torch.baddbmm(nothing, *self._vectors(), beta=0, alpha=self.scale)
        return found.view(*self.queries.shape[:3], -1)

    def less(self, other: Scores) -> Tensor:
        """Return how far they lie above another side's, without a map of both."""
        found = other.all()
        found.flatten(0, 1).baddbmm_(*self._vectors(), beta=-1, alpha=self.scale)
        return found

    def _vectors(self) -> tuple[Tensor, Tensor]:
        return self.queries.flatten(0, 1), self.keys.flatten(0, 1).mT


Compare = Callable[[Scores, Scores, Tensor | None], tuple[Tensor, Tensor]]
"""Takes scores of student and teacher, and which pairs count, None for all; returns the sum over
them and its gradient for the student's scores."""


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


def compared(
    compare: Compare, layers: Sequence[tuple[Attention, Attention]], mask: Tensor
) -> Tensor:
    """Return comparisons of two layers' scores each, mean over heads, padding left out.

    Maps of `[batch, heads, length, length]` are many times as large as what they are computed from.
    Piece by piece they stay in the cache; the gradient is computed on the way, in closed form, and
    of it only that of queries and keys is kept. Autograd would take twice the time.

    Args:
        compare: Compares the scores of a piece; a sum over rows and heads.
        layers: A student's layer and a teacher's with as many heads, to which no gradient flows;
            all with the same number.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.

    Returns:
        A comparison for each, float32 `[layers]`.
    """
    heads = layers[0][0].queries.shape[1]
    tokens, pieces = mask.bool(), _plan(mask, heads)
    beyond = {id(side.allowed): side.allowed for pair in layers for side in pair}
    hidden = {key: _beyond_padding(allowed, tokens) for key, allowed in beyond.items()}
    totals = []
    for student, teacher in layers:
        hides = [hidden[id(side.allowed)] for side in (student, teacher)]
        allowed = [each for each in hides if each is not None]
        settled = compare, student, teacher, tokens, allowed, pieces
        total: Tensor = _Compared.apply(*settled, student.queries, student.keys)  # type: ignore[no-untyped-call]
        totals.append(total)
    return torch.stack(totals) / heads


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
        tokens: Tensor,
        allowed: Sequence[Tensor],
        pieces: Sequence[Piece],
        queries: Tensor,
        keys: Tensor,
    ) -> Tensor:
        """Sum over the pieces; keep the gradients of queries and keys."""
        needed = ctx.needs_input_grad[6] or ctx.needs_input_grad[7]
        # In float32, for a scaled loss may come before small gradients are rounded.
        ours = torch.zeros_like(queries, dtype=torch.float32) if needed else None
        theirs = None
        if needed and queries is not keys:
            theirs = torch.zeros_like(keys, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=tokens.device)
        for piece in pieces:
            own = _scores(student, piece)
            value, gradient = compare(own, _scores(teacher, piece), _pairs(tokens, allowed, piece))
            total += value
            if ours is None:
                continue
            of_queries = _product(gradient, own.keys)
            of_keys = _product(gradient.mT, own.queries)
            if theirs is None:
                piece.put(of_queries.add_(of_keys).mul_(student.scale), ours)
            else:
                piece.put(of_queries.mul_(student.scale), ours)
                piece.put(of_keys.mul_(student.scale), theirs)
        ctx.gradients, ctx.dtype = (ours, theirs), queries.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients."""
        scaled = (x if x is None else (x * outer).to(ctx.dtype) for x in ctx.gradients)
        return None, None, None, None, None, None, *scaled


def _product(maps: Tensor, vectors: Tensor) -> Tensor:
    """Return `maps @ vectors`; narrow ones go to the left, which takes a third of the time."""
    narrow = vectors.shape[-1] < _NARROW and vectors.device.type == "cpu"
    return (vectors.mT @ maps.mT).mT if narrow else maps @ vectors


def _plan(mask: Tensor, heads: int) -> list[Piece]:
    """Return the pieces: long rows alone, where they lie; short ones of similar length together."""
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
        at, taken = slice(min(starts), max(ends)), order[start:end]
        where = taken if len(taken) > 1 else slice(int(taken), int(taken) + 1)
        pieces.append(Piece(where, at, min(counts) == at.stop - at.start))
        start = end
    return pieces


def _width(spans: list[list[int]]) -> int:
    return max(span[1] for span in spans) - min(span[0] for span in spans)


def _scores(side: Attention, piece: Piece) -> Scores:
    queries, keys = (piece.of(x)[:, :, piece.tokens].float() for x in (side.queries, side.keys))
    return Scores(queries, keys, side.scale)


def _beyond_padding(allowed: Tensor | None, tokens: Tensor) -> Tensor | None:
    """Return what a layer lets see each other, None where all tokens do, as far as is known."""
    if allowed is None:
        return None
    rows, length = tokens.shape
    if tokens.device.type == "cpu" and (allowed | ~_of_tokens(tokens)).all():
        return None
    heads = allowed.shape[1] if allowed.dim() == 4 else 1
    return allowed.expand(rows, heads, length, length)


def _pairs(tokens: Tensor, allowed: Sequence[Tensor], piece: Piece) -> Tensor | None:
    """Return which pairs of a piece count: tokens, that both models let see each other."""
    if piece.whole and not allowed:
        return None
    pairs = _of_tokens(piece.of(tokens)[:, piece.tokens])
    for each in allowed:
        pairs = pairs & piece.of(each)[:, :, piece.tokens, piece.tokens]
    return pairs


def _of_tokens(mask: Tensor) -> Tensor:
    """Return which pairs are of tokens, none of padding, bool `[rows, 1, length, length]`."""
    return mask[:, None, :, None] & mask[:, None, None, :]
