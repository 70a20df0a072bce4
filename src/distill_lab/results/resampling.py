"""Drawing rows with replacement: the same draws for every model, so that differences are paired."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_AT_ONCE = 2**23  # weights that are held as float64 at once


class Resamples:
    """How often each row is drawn in each of several samples of all rows.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 6. One object serves all
    runs of a comparison: a row that is drawn is drawn for student and baseline of all seeds.

    Args:
        rows: How many there are.
        times: How many samples are drawn.
        seed: Decides the draws, so that a comparison typed twice tells the same.
    """

    def __init__(self, rows: int, times: int = 2000, seed: int = 0) -> None:
        self.rows = rows
        self.times = times
        self._seed = seed

    @cached_property
    def counts(self) -> npt.NDArray[np.uint8]:
        """How often each row is drawn, `[times, rows]`."""
        random = np.random.default_rng(self._seed)
        found = np.empty((self.times, self.rows), dtype=np.uint8)
        for sample in found:
            drawn = random.integers(self.rows, size=self.rows, dtype=np.int64)
            sample[:] = np.bincount(drawn, minlength=self.rows)
        return found

    @cached_property
    def _weights(self) -> npt.NDArray[np.float64] | None:
        """The counts as numbers that are multiplied fast, where they are few."""
        small = self.times * self.rows <= _AT_ONCE
        return self.counts.astype(np.float64) if small else None

    def sums(self, columns: Floats) -> Floats:
        """Return the sums of columns over each sample.

        Args:
            columns: `[rows, columns]`.

        Returns:
            `[times, columns]`.
        """
        if self._weights is not None:
            found: Floats = self._weights @ columns
            return found
        step = max(1, _AT_ONCE // max(self.rows, 1))
        parts = [
            self.counts[at : at + step].astype(np.float64) @ columns
            for at in range(0, self.times, step)
        ]
        return np.concatenate(parts)
