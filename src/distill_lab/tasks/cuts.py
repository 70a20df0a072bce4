"""Where the blocks of a corpus lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill_lab.tasks.rows import Ids


@dataclass(frozen=True)
class Cuts:
    """Where the blocks of a corpus lie, int64 `[blocks]` each.

    Attributes:
        starts: First token of each.
        ends: Past the last.
        scored: How many of a block's tokens are only read, and not asked for.
    """

    starts: Ids
    ends: Ids
    scored: Ids

    def take(self, index: Ids) -> Cuts:
        """Return the blocks at these positions."""
        return Cuts(self.starts[index], self.ends[index], self.scored[index])


def packed(tokens: int, length: int, least: int) -> Cuts:
    """Divide a line of tokens into blocks, the last one shorter.

    Args:
        tokens: How many there are.
        length: Of a block.
        least: Tokens that a block needs to be of use.
    """
    starts = np.arange(0, max(tokens - least + 1, 0), length, dtype=np.int64)
    ends = np.minimum(starts + length, tokens)
    return Cuts(starts, ends, np.zeros_like(starts))


def strided(tokens: int, length: int, stride: int) -> Cuts:
    """Divide a line of tokens into windows, each of which predicts what those before have not.

    The protocol of the transformers documentation ("Perplexity of fixed-length models"): every
    token but the first is predicted once, from at least `length - stride` tokens before it where
    the text has as many.

    Args:
        tokens: How many there are.
        length: Of a window.
        stride: How far apart windows begin; less than `length`.
    """
    last = max(tokens - length, 0)
    starts = np.arange(0, last + stride, stride, dtype=np.int64)
    ends = np.minimum(starts + length, tokens)
    keep = np.append(True, ends[1:] > ends[:-1])
    starts, ends = starts[keep], ends[keep]
    scored = np.append(0, ends[:-1] - starts[1:]).astype(np.int64)
    return Cuts(starts, ends, scored)
