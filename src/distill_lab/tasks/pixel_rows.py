"""Pictures as models read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.pictures import Pictures
from distill_lab.types import Batch


class PixelRows(ModelRows):
    """Pictures, standardised, and moved by a few pixels where that is asked for.

    Args:
        pictures: As read.
        mean: Of each channel, of values from 0 to 1.
        std: Standard deviation of each channel.
        jitter: Pixels by which a picture is moved in each direction at most, drawn from its id and
            the epoch; what it leaves is filled with 0.
    """

    def __init__(
        self, pictures: Pictures, mean: Sequence[float], std: Sequence[float], jitter: int = 0
    ) -> None:
        super().__init__(pictures.ids, pictures.labels)
        self.pixels = pictures.pixels
        # A value of 0 to 255 times `scale` plus `shift` is a standardised one.
        deviation = np.asarray(std, dtype=np.float32)
        self.scale = (1 / (255 * deviation)).astype(np.float32)
        self.shift = (-np.asarray(mean, dtype=np.float32) / deviation).astype(np.float32)
        self.jitter = jitter

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The same for all pictures, so that their order is random."""
        return np.ones(len(self), dtype=np.int64)

    @property
    def drawn(self) -> str:
        """Why rows are not the same in each epoch; empty where they are."""
        return "pictures are moved by other pixels in each epoch" if self.jitter else ""

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the pictures at these positions as one batch."""
        where = np.asarray(positions)
        return Batch(
            torch.from_numpy(self.ids[where]),
            self.padded(positions),
            torch.from_numpy(self.labels[where]),
            per_step=getattr(positions, "per_step", {}),
        )

    def padded(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return `pixel_values`, float32 `[batch, channels, height, width]`."""
        where = np.asarray(positions)
        pixels = self.pixels[where]
        if self.jitter:
            pixels = moved(pixels, self.moves(where, getattr(positions, "draw", 0)))
        values = pixels.astype(np.float32) * self.scale + self.shift
        return {
            "pixel_values": torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
        }

    def moves(self, where: npt.NDArray[np.int64], draw: int) -> npt.NDArray[np.int64]:
        """Return by how many pixels pictures are moved down and to the right, `[batch, 2]`."""
        numbers = _mixed(self.ids[where].astype(np.uint64), draw)
        steps = np.uint64(2 * self.jitter + 1)
        both = np.stack([numbers % steps, (numbers >> np.uint64(32)) % steps], axis=1)
        return both.astype(np.int64) - self.jitter


def moved(pixels: npt.NDArray[np.uint8], moves: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return pictures moved down and to the right.

    Args:
        pixels: `[batch, height, width, channels]`.
        moves: `[batch, 2]`.
    """
    most = int(np.abs(moves).max(initial=0))
    around = np.pad(pixels, ((0, 0), (most, most), (most, most), (0, 0)))
    row = np.arange(len(pixels))[:, None, None]
    down = np.arange(pixels.shape[1])[None, :, None] + most - moves[:, 0, None, None]
    right = np.arange(pixels.shape[2])[None, None, :] + most - moves[:, 1, None, None]
    found: npt.NDArray[np.uint8] = around[row, down, right]
    return found


def _mixed(ids: npt.NDArray[np.uint64], draw: int) -> npt.NDArray[np.uint64]:
    """Return a random number for each id and draw (SplitMix64: Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = ids + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return found
