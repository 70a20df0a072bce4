"""Drawing rows with replacement: the same draws for every model, so that differences are paired."""

from __future__ import annotations

from collections.abc import Iterable
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
        self._kept: dict[np.dtype[np.floating], list[npt.NDArray[np.floating]]] = {}

    @cached_property
    def counts(self) -> npt.NDArray[np.uint8]:
        """How often each row is drawn, `[times, rows]`."""
        random = np.random.default_rng(self._seed)
        found = np.empty((self.times, self.rows), dtype=np.uint8)
        for sample in found:
            drawn = random.integers(self.rows, size=self.rows, dtype=np.int64)
            sample[:] = np.bincount(drawn, minlength=self.rows)
        return found

    def sums(self, columns: Floats) -> Floats:
        """Return the sums of columns over each sample.

        Args:
            columns: `[rows, columns]`.

        Returns:
            `[times, columns]`.
        """
        # Whole numbers are added exactly in half the time.
        whole = bool((columns == np.rint(columns)).all()) and self.rows < 2**16
        kind = np.float32 if whole and float(np.abs(columns).max(initial=0)) < 2**8 else np.float64
        given = columns.astype(kind)
        parts = [weights @ given for weights in self._weights(np.dtype(kind))]
        return np.concatenate(parts).astype(np.float64)

    def _weights(self, kind: np.dtype[np.floating]) -> Iterable[npt.NDArray[np.floating]]:
        """Give the counts as numbers that are multiplied fast; kept where they are few."""
        if kind not in self._kept:
            step = max(1, _AT_ONCE // max(self.rows, 1))
            parts = (self.counts[at : at + step].astype(kind) for at in range(0, self.times, step))
            if self.times > step:
                return parts
            self._kept[kind] = list(parts)
        return self._kept[kind]
