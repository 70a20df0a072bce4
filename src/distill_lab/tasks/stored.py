"""Rows as tokens, kept in the store: a task is tokenised once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from distill_lab.store import Store
from distill_lab.tasks.rows import Part, Splits
from distill_lab.tasks.tokens import Arrays, TokenRows

_FORMAT = 2  # raised when what the store holds of rows changes
_FILE = "rows.safetensors"


def stored_rows(
    splits: Splits,
    encode: Callable[[Part], TokenRows],
    restore: Callable[[Part, Arrays], TokenRows],
    key: Mapping[str, Any],
    about: str,
    store: Store,
) -> dict[str, TokenRows]:
    """Return every split as tokens, from the store where they are there.

    Args:
        splits: The rows.
        encode: Turns the rows of a part into tokens.
        restore: Makes them of their arrays again.
        key: What decides how rows become tokens.
        about: What is kept, for people.
        store: Keeps the tokens.
    """
    ingredients = {
        "format": _FORMAT,
        "rows": splits.fingerprints,
        **key,
        # They decide how a pair is cut, and what stands around it.
        "versions": {package: version(package) for package in ("tokenizers", "transformers")},
    }

    def make(folder: Path) -> None:
        file = dict[str, np.ndarray]()
        for part, rows in splits.parts().items():
            file |= {f"{part}.{name}": array for name, array in encode(rows).arrays().items()}
        save_file(file, folder / _FILE)

    path, _ = store.get("rows", ingredients, make, about)
    arrays = load_file(path / _FILE)
    return {
        part: restore(rows, _below(arrays, f"{part}.")) for part, rows in splits.parts().items()
    }


def _below(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
