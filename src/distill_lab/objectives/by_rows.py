"""Losses over large vocabularies, a few rows at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

P = ParamSpec("P")
Cut = tuple[slice, ...]
"""Which part of the first dimensions of a tensor."""
_WHOLE = {"cpu": 2**18}  # logits that are compared in one piece: 1 MiB in float32
_ELSEWHERE = 2**22


def by_rows(
    function: Callable[Concatenate[Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Let a sum over rows work through large logits in chunks of rows.

    Memory stays at one copy of the student's logits, their gradient, besides the chunk, where
    autograd would keep several.

    Args:
        function: Takes the student's logits `[rows, classes]` first; returns a scalar that is a sum
            over rows, or a vector of such sums. Further tensors have the same rows and get no
            gradient.
    """

    @functools.wraps(function)
    def chunked(student: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        whole = _WHOLE.get(student.device.type, _ELSEWHERE)
        if student.numel() <= whole:
            return function(student, *args, **kwargs)

        def part(cut: Cut, chunk: Tensor) -> Tensor:
            more = [_rows(x, cut) for x in args]
            return function(chunk, *more, **{name: _rows(x, cut) for name, x in kwargs.items()})

        step = max(1, whole // student[0].numel())
        cuts = [(slice(start, start + step),) for start in range(0, len(student), step)]
        return in_pieces(part, cuts, student)

    return chunked  # type: ignore[return-value]  # wraps names the first argument


def in_pieces(part: Callable[..., Tensor], cuts: Sequence[Cut], *tensors: Tensor) -> Tensor:
    """Sum a function over pieces of tensors.

    The gradient of a scalar is computed with its value, piece by piece, and kept. How several
    results are weighed is known only in the backward pass, so there the pieces are computed again.

    Args:
        part: Takes a cut and that piece of each tensor, which alone get gradients; returns a
            scalar or a vector.
        cuts: The slices of each piece; what is in none has no gradient.
        *tensors: From which the pieces are cut.
    """
    total: Tensor = _InPieces.apply(part, cuts, *tensors)  # type: ignore[no-untyped-call]
    return total


class _InPieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, part: Callable[..., Tensor], cuts: Sequence[Cut], *tensors: Tensor
    ) -> Tensor:
        """Sum the values of the pieces; keep the gradients of a scalar."""
        total, ctx.gradients = _sums(part, cuts, tensors, ctx.needs_input_grad[2:])
        ctx.work = (part, cuts, tensors) if total.dim() else None
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that were kept, in place: there is no room for another copy."""
        if ctx.work is not None:
            part, cuts, tensors = ctx.work
            _, gradients = _sums(part, cuts, tensors, ctx.needs_input_grad[2:], outer)
            return None, None, *gradients
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the gradient of a loss in pieces can be taken only once")
        return None, None, *(x if x is None else x.mul_(outer) for x in gradients)


def _sums(
    part: Callable[..., Tensor],
    cuts: Sequence[Cut],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    outer: Tensor | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the sum of the pieces, and its gradients where they are needed.

    Args:
        part: See `in_pieces`.
        cuts: See `in_pieces`.
        tensors: From which the pieces are cut.
        needed: Which of them get a gradient.
        outer: Weights of the results, for their gradient.
    """
    gradients: list[Tensor | None] = [None] * len(tensors)
    total = torch.zeros((), dtype=torch.float32, device=tensors[0].device)
    for cut in cuts:
        pieces = [x[cut].detach() for x in tensors]
        leaves = {i: piece.requires_grad_() for i, piece in enumerate(pieces) if needed[i]}
        with torch.set_grad_enabled(bool(leaves)):
            value = part(cut, *pieces)
        total = total + value.detach()
        if value.dim() and outer is None:
            continue
        for i, gradient in _gradients(value, leaves, outer).items():
            whole = gradients[i]
            if whole is None:
                gradients[i] = whole = torch.zeros_like(tensors[i])
            whole[cut] = gradient
    return total, gradients


def _gradients(value: Tensor, leaves: dict[int, Tensor], outer: Tensor | None) -> dict[int, Tensor]:
    """Return the gradients of what the value depends on."""
    if not leaves:
        return {}
    found = torch.autograd.grad(value, list(leaves.values()), outer, allow_unused=True)
    return {i: x for i, x in zip(leaves, found, strict=True) if x is not None}


def _rows(value: Any, cut: Cut) -> Any:
    return value[cut] if isinstance(value, Tensor) else value
