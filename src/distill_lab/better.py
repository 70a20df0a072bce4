"""Which way a metric is better, and what follows for gain and retention."""

from __future__ import annotations

LOWER = frozenset({"perplexity", "bits_per_byte"})
"""Metrics of which less is better."""

CALIBRATION_BINS = 15
"""Of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)."""


def sign(metric: str) -> int:
    """Return 1 where more of a metric is better, -1 where less is."""
    return -1 if metric in LOWER else 1


def gain(metric: str, student: float, baseline: float) -> float:
    """Return how much better the student is than the baseline, in units of the metric."""
    return sign(metric) * (student - baseline)


def retention(metric: str, value: float, teacher: float) -> float | None:
    """Return which share of the teacher's score a model keeps.

    Its score over the teacher's, or the teacher's over its own where less is better, so that 1 is
    the teacher and more is better; None where the teacher is not above 0.
    """
    if teacher <= 0 or (metric in LOWER and value <= 0):
        return None
    return teacher / value if metric in LOWER else value / teacher
