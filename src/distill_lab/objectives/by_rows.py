"""Losses over large vocabularies, a few rows at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

P = ParamSpec("P")
_WHOLE = 2**22  # logits that are compared in one piece: 16 MiB in float32


def by_rows(
    function: Callable[Concatenate[Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Let a sum over rows work through large logits in chunks of rows.

    The gradient of each chunk is computed with its value and kept in place of the intermediate
    results, so memory stays at one copy of the student's logits, their gradient, besides the
    chunk, where autograd would keep several.

    Args:
        function: Takes the student's logits `[rows, classes]` first; returns a scalar that is a sum
            over rows. Further tensors have the same rows and get no gradient.
    """

    @functools.wraps(function)
    def chunked(student: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if student.numel() <= _WHOLE:
            return function(student, *args, **kwargs)
        total: Tensor = _Chunked.apply(function, student, args, kwargs)  # type: ignore[no-untyped-call]
        return total

    return chunked  # type: ignore[return-value]  # wraps names the first argument


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., Tensor],
        student: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        """Sum the chunks' values; keep the gradient where one is needed."""
        step = max(1, _WHOLE // student[0].numel())
        ctx.gradient = torch.empty_like(student) if ctx.needs_input_grad[1] else None
        total = torch.zeros((), device=student.device)
        for start in range(0, len(student), step):
            rows = slice(start, start + step)
            chunk = student[rows].detach().requires_grad_(ctx.gradient is not None)
            with torch.set_grad_enabled(ctx.gradient is not None):
                value = function(
                    chunk,
                    *(_rows(x, rows) for x in args),
                    **{name: _rows(x, rows) for name, x in kwargs.items()},
                )
            if ctx.gradient is not None:
                ctx.gradient[rows] = torch.autograd.grad(value, chunk)[0]
            total += value.detach()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[None, Tensor, None, None]:
        """Scale the gradient that was kept, in place: there is no room for another copy."""
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError("the gradient of a loss in chunks can be taken only once")
        return None, gradient.mul_(outer), None, None


def _rows(value: Any, rows: slice) -> Any:
    return value[rows] if isinstance(value, Tensor) else value
