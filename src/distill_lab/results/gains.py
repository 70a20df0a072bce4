"""What a gain over the baseline is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from distill_lab.results import inference

FEW = 10
"""Rows on which student and baseline differ, below which an interval is rough."""
ALIKE = "student and baseline answer every row alike, which tells no interval"
MCNEMAR, ROWS, BOTH = "exact McNemar test", "bootstrap over rows", "bootstrap over rows and seeds"


@dataclass(frozen=True)
class Gain:
    """A gain, student over baseline of the same seeds, under one metric.

    Attributes:
        each: Of each seed; above 0 where the student is better, whichever way the metric runs.
        mean: Over the seeds.
        sd: Standard deviation over the seeds; None for one.
        low, high: Ends of the 95 % interval; None if it is not tested, or if no row differs.
        p: How often chance alone gives such a gain; None if it is not tested.
        adjusted: p after Holm's correction over the cells of the comparison.
        test: Name of the test that gave p; empty if there is none.
        why_not: Why it is not tested, in words; empty if it is.
        differing: Rows on which student and baseline answer differently for some seed; None if it
            is not tested.
    """

    each: tuple[float, ...]
    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    test: str = ""
    why_not: str = ""
    differing: int | None = None

    @classmethod
    def of(cls, each: Sequence[float], why_not: str = "") -> Gain:
        """Return the gain of at least one seed, not yet tested."""
        sd = stdev(each) if len(each) > 1 else None
        return cls(tuple(each), mean(each), sd, why_not=why_not)

    @property
    def alike(self) -> bool:
        """Whether student and baseline answer every row alike, so that there is no interval."""
        return self.p is not None and self.low is None

    @property
    def rough(self) -> bool:
        """Whether so few rows tell student and baseline apart that the interval is rough."""
        return self.low is not None and self.differing is not None and self.differing < FEW

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len(self.each)

    @property
    def verdict(self) -> str:
        """What is to be believed: "better", "worse", "no evidence" or "not tested"."""
        if self.adjusted is None:
            return "not tested"
        return inference.verdict(self.mean, self.adjusted)


def corrected(gains: Sequence[Mapping[str, Gain]]) -> list[dict[str, Gain]]:
    """Return the gains of all cells with Holm's correction, each metric a family of its own.

    Args:
        gains: Of each cell, by metric.
    """
    found = [dict(each) for each in gains]
    for metric in dict.fromkeys(name for each in gains for name in each):
        known = [each for each in found if metric in each and each[metric].p is not None]
        levels = [each[metric].p or 0.0 for each in known]
        for each, adjusted in zip(known, inference.holm(levels), strict=True):
            each[metric] = replace(each[metric], adjusted=adjusted)
    return found
