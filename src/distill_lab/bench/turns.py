"""Models that take turns on the same rows, and what is said of them.

Several models are measured in one go, a round each in turn, because a machine is never alone: what
disturbs it falls on all alike, so that ratios hold where milliseconds do not. Every second round
goes backwards, so that none has always the same one before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from scipy.stats import quantile_test

from distill_lab.errors import UsageError

Key = TypeVar("Key", bound=Hashable)
_LEVEL = 0.95


@dataclass(frozen=True)
class Round:
    """What a model took in one round.

    Attributes:
        single: Seconds of each row that was read alone.
        rows: How many were read in batches.
        seconds: What these took.
        joules: Energy that they took; None where nothing counts it.
    """

    single: Sequence[float]
    rows: int
    seconds: float
    joules: float | None = None

    @property
    def p50(self) -> float:
        """Median seconds of a row that was read alone."""
        return percentile(self.single, 50)

    @property
    def examples_per_second(self) -> float:
        """Rows in batches by their seconds."""
        return self.rows / self.seconds


class Arm(Protocol):
    """A model in one form, ready to be measured."""

    def measure(self) -> Round:
        """Read all rows once.

        Raises:
            UsageError: If it cannot.
        """
        ...

    def settle(self) -> None:
        """Hear that the warm-up is over."""
        ...


def take_turns(
    arms: Mapping[Key, Arm],
    repetitions: int,
    warm_up: int,
    left_out: Callable[[Key, UsageError], None],
    shown: Callable[[Iterable[int], int], Iterable[int]] = lambda turns, _: turns,
) -> dict[Key, list[Round]]:
    """Let all models read the rows, one after another, and again.

    Args:
        arms: The models.
        repetitions: Rounds that count.
        warm_up: Rounds before them.
        left_out: Called with a model that fails, and why; the others go on.
        shown: Gives the turns, with a progress bar maybe; takes their number.

    Returns:
        The rounds of each model that has read the rows in all of them.
    """
    found: dict[Key, list[Round]] = {name: [] for name in arms}
    for turn in shown(range(warm_up + repetitions), warm_up + repetitions):
        for name in list(found)[:: -1 if turn % 2 else 1]:
            try:
                if turn == warm_up:
                    arms[name].settle()
                measured = arms[name].measure()
            except UsageError as error:
                del found[name]
                left_out(name, error)
                continue
            if turn >= warm_up:
                found[name].append(measured)
    return found


@dataclass(frozen=True)
class Ratio:
    """How one model stands to another.

    Attributes:
        value: Median of the rounds.
        low, high: Where the median lies with 95 % confidence; None for too few rounds.
    """

    value: float
    low: float | None
    high: float | None


def ratio(
    ours: Sequence[Round], theirs: Sequence[Round], times: Callable[[Round, Round], float]
) -> Ratio:
    """Compare two models round by round.

    The interval is that of the median by order statistics (Conover 1999, Practical Nonparametric
    Statistics, section 3.2), which asks nothing of the distribution: one disturbed round does not
    move it. It needs six rounds.

    Args:
        ours: Rounds of a model.
        theirs: The same rounds of the one that it is held against.
        times: The ratio of a round.
    """
    each = [times(a, b) for a, b in zip(ours, theirs, strict=True)]
    low, high = quantile_test(each, p=0.5).confidence_interval(_LEVEL)
    return Ratio(float(np.median(each)), _known(low), _known(high))


def times_as_soon(ours: Round, theirs: Round) -> float:
    """Return how many times as soon a single row is answered, by the medians of a round."""
    return theirs.p50 / ours.p50


def times_as_many(ours: Round, theirs: Round) -> float:
    """Return how many times as many rows are answered in batches."""
    return ours.examples_per_second / theirs.examples_per_second


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Return the percentile of some seconds, interpolated between two of them."""
    return float(np.percentile(np.asarray(seconds), percent))


def latency_ms(rounds: Sequence[Round], percent: float) -> float:
    """Return a percentile, in milliseconds, over all single rows of all rounds."""
    return 1000 * percentile([each for one in rounds for each in one.single], percent)


def latency_spread(rounds: Sequence[Round]) -> float:
    """Return the greatest median latency of a round over the least one."""
    medians = [one.p50 for one in rounds]
    return max(medians) / min(medians)


def examples_per_second(rounds: Sequence[Round]) -> float:
    """Return rows a second in batches, the median of the rounds."""
    return float(np.median([one.examples_per_second for one in rounds]))


def joules_per_thousand(rounds: Sequence[Round]) -> float | None:
    """Return joules for 1,000 rows in batches; None where a round was not measured."""
    counted = [one.joules for one in rounds if one.joules is not None]
    if len(counted) < len(rounds):
        return None
    return 1000 * sum(counted) / sum(one.rows for one in rounds)


def _known(bound: float) -> float | None:
    return float(bound) if math.isfinite(bound) else None
