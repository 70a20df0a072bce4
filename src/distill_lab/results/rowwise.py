"""Metrics as functions of sums over rows, so that they can be computed for thousands of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distill_lab.results.resampling import Floats, Resamples

Ints = npt.NDArray[np.int64]
WORST = 700.0  # nats, as in `tasks.token_scores`, which needs torch


class Scored(Protocol):
    """A model's answers under one metric."""

    def value(self) -> float:
        """Return the metric over all rows."""

    def over(self, samples: Resamples) -> Floats:
        """Return the metric of each sample, `[times]`."""

    def told(self) -> Floats:
        """Return what of each row the metric looks at, `[rows, ...]`: rows alike score alike."""


@dataclass(frozen=True)
class Sums:
    """A metric that is a function of sums over rows.

    Attributes:
        columns: What is summed, `[rows, columns]`.
        of: From sums `[..., columns]` to the metric `[...]`.
    """

    columns: Floats
    of: Callable[[Floats], Floats]

    def value(self) -> float:
        """Return the metric over all rows."""
        return float(self.of(self.columns.sum(axis=0)))

    def over(self, samples: Resamples) -> Floats:
        """Return the metric of each sample, `[times]`."""
        return self.of(samples.sums(self.columns))

    def told(self) -> Floats:
        """Return the columns."""
        return self.columns


@dataclass(frozen=True)
class Ranked:
    """Spearman's rank correlation: ranks are those within a sample, ties share their mean.

    Attributes:
        predicted: `[rows]`.
        label: `[rows]`.
    """

    predicted: Floats
    label: Floats

    def value(self) -> float:
        """Return the correlation over all rows."""
        once = np.ones((1, len(self.label)))
        return float(self._correlated(once)[0])

    def over(self, samples: Resamples) -> Floats:
        """Return the correlation of each sample, `[times]`."""
        step = max(1, 2**21 // max(samples.rows, 1))
        parts = [
            self._correlated(samples.counts[at : at + step].astype(np.float64))
            for at in range(0, samples.times, step)
        ]
        return np.concatenate(parts)

    def told(self) -> Floats:
        """Return the predictions."""
        return self.predicted[:, None]

    def _correlated(self, counts: Floats) -> Floats:
        x, y = _ranks(self.predicted, counts), _ranks(self.label, counts)
        pairs = ((None, None), (x, None), (y, None), (x, x), (y, y), (x, y))
        sums = []
        for a, b in pairs:
            weighted = counts if a is None else counts * a
            sums.append((weighted if b is None else weighted * b).sum(axis=1))
        return pearson(np.stack(sums, axis=-1))


def _ranks(values: Floats, counts: Floats) -> Floats:
    """Return the centred mid-ranks of values within samples, `[samples, rows]`."""
    _, where, sizes = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(where, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    of_value = np.add.reduceat(counts[:, order], starts, axis=1)  # [samples, distinct values]
    before = np.cumsum(of_value, axis=1) - of_value
    ranks: Floats = (before + of_value / 2 - counts.sum(axis=1, keepdims=True) / 2)[:, where]
    return ranks


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return a ratio, 0 where it is undefined."""
    found: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return found


def mean_of(values: Floats, weights: Floats | None = None) -> Sums:
    """Return a metric that is a mean over rows, or over the tokens of rows.

    Args:
        values: Of each row, `[rows]`.
        weights: How much each row counts, such as its tokens.
    """
    share = np.ones_like(values) if weights is None else weights
    columns = np.stack([values * share, share], axis=1)
    return Sums(columns, lambda sums: _ratio(sums[..., 0], sums[..., 1]))


def perplexity(loss: Floats, tokens: Floats) -> Sums:
    """Return the exponential of the mean cross-entropy of all tokens.

    Args:
        loss: Mean cross-entropy of each row's tokens in nats.
        tokens: How many each row has.
    """

    def of(sums: Floats) -> Floats:
        found: Floats = np.exp(np.minimum(_ratio(sums[..., 0], sums[..., 1]), WORST))
        return found

    finite = np.where(np.isfinite(loss), loss, WORST)
    return Sums(np.stack([finite * tokens, tokens], axis=1), of)


def f1(predicted: Ints, label: Ints) -> Sums:
    """Return the F1 of the class 1."""
    columns = _counts_of(predicted, label, np.array([1]))

    def of(sums: Floats) -> Floats:
        hit, given, true = sums[..., 0], sums[..., 1], sums[..., 2]
        return _ratio(2 * hit, given + true)

    return Sums(columns, of)


def f1_macro(predicted: Ints, label: Ints) -> Sums:
    """Return the mean over classes of their F1; one that neither is given nor true is left out."""
    classes = np.unique(np.concatenate([predicted, label]))

    def of(sums: Floats) -> Floats:
        hit, given, true = np.split(sums, 3, axis=-1)
        each = _ratio(2 * hit, given + true)
        found: Floats = each.sum(axis=-1) / np.maximum(((given + true) > 0).sum(axis=-1), 1)
        return found

    return Sums(_counts_of(predicted, label, classes), of)


def matthews(predicted: Ints, label: Ints) -> Sums:
    """Return Matthews' correlation of classes, 0 where it is undefined.

    For several classes that of Gorodkin 2004, "Comparing two K-category assignments by a K-category
    correlation coefficient", from the marginal counts.
    """
    classes = np.unique(np.concatenate([predicted, label]))

    def of(sums: Floats) -> Floats:
        hit, given, true = np.split(sums, 3, axis=-1)
        right, rows = hit.sum(axis=-1), true.sum(axis=-1)
        above = right * rows - (given * true).sum(axis=-1)
        spread = (rows**2 - (given**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1))
        return _ratio(above, np.sqrt(np.maximum(spread, 0.0)))

    return Sums(_counts_of(predicted, label, classes), of)


def _counts_of(predicted: Ints, label: Ints, classes: Ints) -> Floats:
    """Return of each class whether a row hits it, is given it, is of it: `[rows, 3 classes]`."""
    given, true = predicted[:, None] == classes, label[:, None] == classes
    return np.concatenate([given & true, given, true], axis=1).astype(np.float64)


def linear(predicted: Floats, label: Floats) -> Sums:
    """Return Pearson's correlation, 0 where it is undefined."""
    x, y = predicted - predicted.mean(), label - label.mean()
    return Sums(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), pearson)


def pearson(sums: Floats) -> Floats:
    """Return Pearson's correlation from the sums of 1, x, y, x², y² and xy, `[..., 6]`."""
    count, x, y, xx, yy, xy = (sums[..., at] for at in range(6))
    spread = (count * xx - x * x) * (count * yy - y * y)
    above: Floats = count * xy - x * y
    return _ratio(above, np.sqrt(np.maximum(spread, 0.0)))
