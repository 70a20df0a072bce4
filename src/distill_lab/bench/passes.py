"""What a model reads in a round, handed to the process that measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Passes:
    """What one model reads in a round.

    Attributes:
        single: Inputs of one row each, read one after another.
        batches: Inputs of many rows each.
        median: A row of median length.
        rows: `name` and `fingerprint` of all, and how many they are; see `entry.Entry`.
        batch_size: Rows of a batch.
        longest: Tokens of the longest row; 0 where rows are no text.
    """

    single: Sequence[Arrays]
    batches: Sequence[Arrays]
    median: Arrays
    rows: Mapping[str, Any]
    batch_size: int
    longest: int

    def save(self, file: Path) -> None:
        """Write what is read, for another process."""
        kinds = {"single": self.single, "batches": self.batches}
        arrays = {
            f"{kind}/{at:05d}/{name}": np.ascontiguousarray(values)
            for kind, inputs in kinds.items()
            for at, each in enumerate(inputs)
            for name, values in each.items()
        }
        save_file(arrays, file)


def load_passes(file: Path) -> tuple[list[Arrays], list[Arrays]]:
    """Return the single rows and the batches that `Passes.save` has written."""
    found: dict[str, dict[str, Arrays]] = {"single": {}, "batches": {}}
    for key, values in sorted(load_file(file).items()):
        kind, at, name = key.split("/")
        found[kind].setdefault(at, {})[name] = values
    return list(found["single"].values()), list(found["batches"].values())
