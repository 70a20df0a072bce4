"""Divergences from a teacher of whom only the largest logits are known.

Both distributions are reduced to k + 1 buckets: the classes that are kept, and all others together.
A divergence of the buckets is at most that of the classes (data processing inequality), grows with
k, and is the same where all classes are kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from distill_lab.objectives.by_rows import by_rows
from distill_lab.types import Outputs

_FLOOR = 1e4  # how far a bucket may lie below the largest: no probability, but a finite logarithm


def compared(
    loss: Callable[..., Tensor],
    student: Outputs,
    teacher: Outputs,
    temperature: float,
    *settings: object,
) -> Tensor:
    """Return a divergence of two answers, over all classes or over the teacher's buckets.

    Args:
        loss: Takes both sides' logits `[units, classes]`, T, and the settings; looks at them only
            through their softmax at T.
        student: Gives all logits.
        teacher: Gives all, or the largest.
        temperature: T, above 0.
        *settings: What else the loss takes.

    Returns:
        What the loss gives.

    Raises:
        ConfigError: If the mass outside the largest is not known at T.
    """
    top = teacher.top
    if top is None:
        return loss(student.logits, teacher.logits, temperature, *settings)
    rest = top.rest_at(temperature)
    return _in_buckets(
        student.logits, top.values, top.indices, rest, temperature, loss, *settings
    )  # fmt: skip


@by_rows
def _in_buckets(
    student: Tensor,
    values: Tensor,
    indices: Tensor,
    rest: Tensor,
    temperature: float,
    loss: Callable[..., Tensor],
    *settings: object,
) -> Tensor:
    return loss(*buckets(student, values, indices, rest, temperature), 1.0, *settings)


def buckets(
    student: Tensor, values: Tensor, indices: Tensor, rest: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return logits of the buckets: their softmax is the distribution at T over the buckets.

    The last bucket, of all classes that are not kept, has the logit `log(sum of exp(z/T))`; it is
    left out where all are kept. The teacher's logits lie at most 10,000 apart, so that a bucket
    without any mass counts nothing, and no infinity reaches a product.

    Args:
        student: All logits `[units, classes]`.
        values: The teacher's largest `[units, k]`.
        indices: Their classes `[units, k]`.
        rest: The teacher's logit of the last bucket at T `[units]`.
        temperature: T, above 0.

    Returns:
        Student's and teacher's, float32 `[units, k + 1]`, or `[units, classes]` for k = classes.
    """
    scaled = student.float() / temperature
    ours, theirs = scaled.gather(-1, indices), values / temperature
    if indices.shape[-1] < student.shape[-1]:
        outside = scaled.scatter(-1, indices, float("-inf")).logsumexp(-1, keepdim=True)
        ours = torch.cat([ours, outside], dim=-1)
        theirs = torch.cat([theirs, rest[:, None]], dim=-1)
    return ours, theirs.maximum(theirs.amax(-1, keepdim=True) - _FLOOR)
