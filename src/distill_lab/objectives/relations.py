"""Comparing attention: which keys count, and divergences between rows of scores."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill_lab.attention import can_be_caught, is_causal
from distill_lab.errors import ConfigError
from distill_lab.models import classifier_class
from distill_lab.types import Attention, Fit

_NOT_NEAR_0 = 1e-30


def seen(student: Attention, teacher: Attention, mask: Tensor) -> Tensor:
    """Return which pairs of query and key count: tokens, that both models let see each other.

    Args:
        student: One layer's attention.
        teacher: One layer's attention, of the same length.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.

    Returns:
        bool, broadcastable to `[batch, heads, length, length]`.
    """
    tokens = mask.bool()
    if student.allowed is None and teacher.allowed is None and _all(tokens):
        return tokens.new_ones(1, 1, 1, 1)
    pairs = tokens[:, None, :, None] & tokens[:, None, None, :]
    for side in (student, teacher):
        if side.allowed is not None:
            pairs = pairs & side.allowed
    return pairs


def rows_kl(student: Tensor, teacher: Tensor, pairs: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) of rows of scores.

    Args:
        student: Scores `[batch, heads, length, length]`.
        teacher: Scores of the same shape; no gradient flows to them.
        pairs: Which count, see `seen`; a row without any is 0, as both sides are hidden alike.

    Returns:
        A scalar in float32, summed over queries and heads.
    """
    ours, theirs = hide(student.float(), pairs), hide(teacher.detach().float(), pairs)
    rows: Tensor = _RowsKL.apply(ours, theirs)  # type: ignore[no-untyped-call]
    return rows.sum()


class _RowsKL(torch.autograd.Function):
    """KL of rows with two exponentials where autograd would take four.

    `KL(p || q) = sum p (t - s) - (logsumexp(t) - logsumexp(s))`, with the gradient `q - p`.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence of each row; keep the gradient."""
        q, p = student.softmax(dim=-1), teacher.softmax(dim=-1)
        norms = _logsumexp(teacher, p) - _logsumexp(student, q)
        ctx.gradient = q.sub_(p)
        return p.mul_(teacher - student).sum(dim=-1) - norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        """Scale the gradient of each row, in a copy: the pass may be repeated."""
        return ctx.gradient * outer[..., None], None


def _logsumexp(scores: Tensor, probabilities: Tensor) -> Tensor:
    """Return the logsumexp of each row of scores from one score and its probability.

    The diagonal's where none of them is near 0; finding the largest takes longer than a softmax.
    """
    own = probabilities.diagonal(dim1=-2, dim2=-1)
    if _all(own > _NOT_NEAR_0):
        return scores.diagonal(dim1=-2, dim2=-1) - own.log()
    return scores.amax(dim=-1) - probabilities.amax(dim=-1).log()


def products(vectors: Tensor) -> Tensor:
    """Return the scaled products of all pairs of vectors, float32 `[..., length, length]`.

    Args:
        vectors: `[..., length, width]`; the scale is `width ** -0.5`.
    """
    vectors = vectors.float()
    found: Tensor = (vectors * vectors.shape[-1] ** -0.5) @ vectors.transpose(-1, -2)
    return found


def hide(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return scores of which a softmax sees only the pairs that count.

    The lowest number, which absorbs any score, is added: that costs less than filling it in, which
    takes another pass for the gradient.

    Args:
        scores: float32 `[batch, heads, length, length]`.
        pairs: Which count, see `seen`.
    """
    if _all(pairs):
        return scores
    lowest = torch.finfo(torch.float32).min
    return scores + torch.zeros(pairs.shape, device=pairs.device).masked_fill(~pairs, lowest)


def squared_difference(student: Tensor, teacher: Tensor, pairs: Tensor) -> Tensor:
    """Return the squared difference of two maps over pairs of tokens.

    Args:
        student: `[batch, heads, length, length]`.
        teacher: The same shape; no gradient flows to it.
        pairs: Which count, see `seen`.

    Returns:
        A scalar in float32, summed over pairs and heads.
    """
    ours, theirs = student.float(), teacher.detach().float()
    if not _all(pairs):
        ours, theirs = ours.masked_fill(~pairs, 0.0), theirs.masked_fill(~pairs, 0.0)
    return F.mse_loss(ours, theirs, reduction="sum")


def _all(which: Tensor) -> bool:
    """Whether all count, where that can be known without waiting for the device."""
    return which.device.type == "cpu" and bool(which.all())


def needs_attention(fit: Fit, name: str) -> None:
    """Refuse models whose attention cannot be had or compared.

    Args:
        fit: Tells both configurations.
        name: Name of the objective.

    Raises:
        ConfigError: If a model computes attention in its own way, or one looks left only.
    """
    for role, config in (("student", fit.student), ("teacher", fit.teacher)):
        model = classifier_class(config)
        if model is None or not can_be_caught(model):
            raise ConfigError(
                f"objective={name}: the {role} ({config.model_type}) computes attention in its own"
                " way, so it cannot be had; use an objective on logits or hidden states"
            )
    if is_causal(fit.student) != is_causal(fit.teacher):
        raise ConfigError(
            f"objective={name}: of {fit.student.model_type} (student) and"
            f" {fit.teacher.model_type} (teacher) one sees only the tokens to the left, so their"
            " attention cannot be compared; use an objective on logits or hidden states"
        )


def needs_heads(fit: Fit, name: str, remedy: str) -> None:
    """Refuse models with unequal numbers of attention heads.

    Args:
        fit: Tells both configurations.
        name: Name of the objective.
        remedy: What to do instead.

    Raises:
        ConfigError: If the numbers differ.
    """
    heads = fit.student.num_attention_heads, fit.teacher.num_attention_heads
    if heads[0] != heads[1]:
        raise ConfigError(
            f"objective={name}: the student has {heads[0]} attention heads, the teacher {heads[1]},"
            f" and head is compared with head; {remedy}"
        )
