"""Values that change over the steps of a training."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def scheduled(schedule: Schedule, start: float, end: float, progress: float) -> float:
    """Return the value at a point of the training.

    Args:
        schedule: "constant" stays at `start`; "linear" and "cosine" go from `start` to `end`.
        start: Value at the first step.
        end: Value at the last step.
        progress: Share of the training that is done, 0 to 1.
    """
    if schedule == "constant":
        return start
    done = min(max(progress, 0.0), 1.0)
    share = done if schedule == "linear" else (1 - math.cos(math.pi * done)) / 2
    return start + (end - start) * share


def stage_ends(steps: int, shares: Sequence[float]) -> list[int]:
    """Return the step at which each stage of a training has ended.

    Args:
        steps: Steps of the whole training.
        shares: Share of the steps of each stage, together 1.
    """
    return [round(steps * sum(shares[: i + 1])) for i in range(len(shares))]


def stage_at(step: int, ends: Sequence[int]) -> int:
    """Return the number of the stage that a step belongs to, the last one beyond the end."""
    return min(bisect.bisect_right(ends, step), len(ends) - 1)
