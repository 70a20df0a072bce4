"""Comparing attention: divergences between rows of scores, and models that can be compared."""

from __future__ import annotations

import torch
from torch import Tensor

from distill_lab.attention import can_be_caught, is_causal
from distill_lab.errors import ConfigError
from distill_lab.heads import model_class
from distill_lab.objectives.pairwise import Scores
from distill_lab.types import Fit

_NEAR_0 = 1e-30


def rows_kl(student: Scores, teacher: Scores, pairs: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return KL(softmax(teacher) || softmax(student)) of rows of scores, and its gradient.

    `KL(p || q) = sum p (t - s) - (logsumexp(t) - logsumexp(s))`, with the gradient `q - p`: two
    exponentials, where autograd would take four.

    Args:
        student: A piece's scores.
        teacher: As many.
        pairs: Which count, None for all; a row without any is 0, as both sides are hidden alike.

    Returns:
        The sum over queries and heads, and the gradient of the student's scores.
    """
    s, t = hide(student.all(), pairs), hide(teacher.all(), pairs)
    q, p = s.softmax(dim=-1), t.softmax(dim=-1)
    # The logsumexp of a row is one score less the logarithm of its probability. The diagonal's
    # where none is near 0; finding the largest takes longer than a softmax.
    own_q, own_p = (side.diagonal(dim1=-2, dim2=-1) for side in (q, p))
    near_0 = s.device.type != "cpu" or bool((torch.minimum(own_q, own_p) < _NEAR_0).any())
    norms = _logsumexp(t, p) - _logsumexp(s, q) if near_0 else None
    difference = t.sub_(s)
    if norms is None:
        norms = difference.diagonal(dim1=-2, dim2=-1) - (own_p / own_q).log()
    value = torch.dot(p.flatten(), difference.flatten()) - norms.sum()
    return value, q.sub_(p)


def _logsumexp(scores: Tensor, probabilities: Tensor) -> Tensor:
    return scores.amax(dim=-1) - probabilities.amax(dim=-1).log()


def rows_mse(student: Scores, teacher: Scores, pairs: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the squared difference of the softmax of rows of scores, and its gradient.

    Args:
        student: A piece's scores.
        teacher: As many.
        pairs: Which count, None for all; what is hidden on both sides is equal.

    Returns:
        The sum over pairs and heads, and the gradient of the student's scores.
    """
    q, p = (hide(side.all(), pairs).softmax(dim=-1) for side in (student, teacher))
    difference = q - p
    outer = (q * difference).sum(dim=-1, keepdim=True)
    return _square(difference), q.mul_(2 * (difference - outer))


def scores_mse(student: Scores, teacher: Scores, pairs: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the squared difference of scores, and its gradient.

    Args:
        student: A piece's scores.
        teacher: As many.
        pairs: Which count, None for all.

    Returns:
        The sum over pairs and heads, and the gradient of the student's scores.
    """
    difference = student.less(teacher)
    if pairs is not None:
        difference.masked_fill_(~pairs, 0.0)
    return _square(difference), difference.mul_(2)


def _square(difference: Tensor) -> Tensor:
    flat = difference.flatten()
    return torch.dot(flat, flat)


def hide(scores: Tensor, pairs: Tensor | None) -> Tensor:
    """Return scores of which a softmax sees only the pairs that count.

    The lowest number, which absorbs any score, is added, in place: that costs less than filling it
    in.

    Args:
        scores: float32 `[batch, heads, length, length]`.
        pairs: Which count, None for all.
    """
    if pairs is None:
        return scores
    lowest = torch.finfo(torch.float32).min
    added = torch.zeros(pairs.shape, dtype=torch.float32, device=pairs.device)
    return scores.add_(added.masked_fill_(~pairs, lowest))


def needs_attention(fit: Fit, name: str) -> None:
    """Refuse models whose attention cannot be had or compared.

    Args:
        fit: Tells both configurations.
        name: Name of the objective.

    Raises:
        ConfigError: If a model computes attention in its own way, or one looks left only.
    """
    for role, config in (("student", fit.student), ("teacher", fit.teacher)):
        model = model_class(config, fit.problem)
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
