"""How sure a gain is: intervals and p-values that cover the rows and the seeds.

Two things make a measured gain differ from the true one: which rows happen to be in the evaluation
split, and which seeds happened to be run. The same rows are answered by all seeds, so a mean over
seeds does not average the rows away (Obuchowski and Rockette 1995, "Hypothesis testing of
diagnostic accuracy for multiple readers and multiple tests", whose readers are our seeds).

* **Rows**: the variance of the gain, averaged over the seeds, when rows are drawn anew with
  replacement, the same ones for both models of all seeds (Berg-Kirkpatrick, Burkett and Klein 2012,
  "An Empirical Investigation of Statistical Significance in NLP").
* **Seeds**: the variance of the seeds' gains over their number.

Chance within a run that is neither the rows' nor the seed's alone is in both, so their sum is
rather too large. The interval is that of Banerjee 1961 ("On confidence interval for two-means
problem based on separate estimates of variances and tabulated values of t-table", Sankhya A 23): a
half-width of √(t_r² V_rows + t_s² V_seeds), each part with the quantile for its own degrees of
freedom. It covers at least as often as it says whatever the ratio of the two variances, also with
two seeds, where Satterthwaite's degrees of freedom raise too many false alarms. The p-value is the
level at which the interval just reaches 0.

One seed tells nothing of the seeds: the interval is then that of the rows alone, and this is said.
For the accuracy of one seed the p-value is the exact one of McNemar 1947 (recommended for one
training run of each model by Dietterich 1998, "Approximate Statistical Tests for Comparing
Supervised Classification Learning Algorithms").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill_lab.results.resampling import Floats

LEVEL = 0.05
_EXACT = 1e-5  # how exactly a level is found, as a share of it


@dataclass(frozen=True)
class Interval:
    """A gain with what is known of it.

    Attributes:
        low: Lower end of the 95 % interval; None where no row tells one.
        high: Its upper end.
        p: How often chance alone gives a gain as far from 0; two-sided.
    """

    low: float | None
    high: float | None
    p: float


def interval(gains: Sequence[float], samples: Floats, differing: int) -> Interval:
    """Return the interval and the p-value of a mean gain.

    The rows' degrees of freedom are those of the rows on which the models differ, for the others
    tell nothing; and p is never below the sign test's smallest, 2 * 0.5**differing.

    Args:
        gains: Of each seed.
        samples: The mean gain over the seeds in samples of the rows, `[times]`.
        differing: Rows on which student and baseline answer differently for some seed.
    """
    center = math.fsum(gains) / len(gains)
    if differing == 0:
        return Interval(None, None, 1.0)
    rows = float(np.var(samples, ddof=1))
    seeds = float(np.var(gains, ddof=1)) / len(gains) if len(gains) > 1 else 0.0
    free = max(differing - 1, 1), max(len(gains) - 1, 1)
    half = _half_width(LEVEL, rows, seeds, free)
    p = max(_level(abs(center), rows, seeds, free), 2 * 0.5**differing)
    return Interval(center - half, center + half, min(p, 1.0))


def _half_width(level: float, rows: float, seeds: float, free: tuple[int, int]) -> float:
    """Return half the width of the interval that misses as often as the level says."""
    from scipy.special import stdtrit

    both = (float(stdtrit(each, level / 2)) for each in free)
    return math.sqrt(sum(t * t * v for t, v in zip(both, (rows, seeds), strict=True) if v > 0))


def _level(distance: float, rows: float, seeds: float, free: tuple[int, int]) -> float:
    """Return the level at which the interval just reaches a distance, by halving on a log scale."""
    from scipy.special import stdtr

    if distance == 0.0:
        return 1.0
    if seeds == 0.0 or rows == 0.0:  # Student's t
        t, own = (rows, free[0]) if seeds == 0.0 else (seeds, free[1])
        return 2 * float(stdtr(own, -distance / math.sqrt(t))) if t else 0.0
    low, high = math.log(1e-300), 0.0
    while high - low > _EXACT:
        middle = (low + high) / 2
        wide = _half_width(math.exp(middle), rows, seeds, free) > distance
        low, high = (middle, high) if wide else (low, middle)
    return math.exp(high)


def mcnemar(only_student: int, only_baseline: int) -> float:
    """Return the exact two-sided p-value of McNemar 1947.

    Args:
        only_student: Rows that the student alone answers right.
        only_baseline: Rows that the baseline alone answers right.
    """
    from scipy.special import bdtr

    rows = only_student + only_baseline
    least = min(only_student, only_baseline)
    return min(1.0, 2 * float(bdtr(least, rows, 0.5))) if rows else 1.0


def holm(levels: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the given order.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure": the chance that any of the
    true hypotheses is rejected stays below the level, however the tests depend on each other.
    """
    order = sorted(range(len(levels)), key=levels.__getitem__)
    adjusted, least = [0.0] * len(levels), 0.0
    for place, at in enumerate(order):
        least = max(least, min(1.0, (len(levels) - place) * levels[at]))
        adjusted[at] = least
    return adjusted


def verdict(gain: float, adjusted: float) -> str:
    """Return what a test says in words: "better", "worse" or "no evidence".

    Args:
        gain: Above 0 where the student is better.
        adjusted: The p-value after correction.
    """
    if adjusted > LEVEL:
        return "no evidence"
    return "better" if gain > 0 else "worse"
