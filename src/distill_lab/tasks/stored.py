"""Rows as tokens, kept in the store: a task is tokenised once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerBase

from distill_lab.store import Store
from distill_lab.tasks.rows import Rows, Splits
from distill_lab.tasks.tokens import TokenRows, encode, padding_values

_FORMAT = 1  # raised when what the store holds of rows changes
_FILE = "rows.safetensors"


def stored_rows(
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    fingerprint: str,
    max_length: int,
    name: str,
    store: Store,
) -> dict[str, TokenRows]:
    """Return every split as tokens, from the store where they are there.

    Args:
        splits: The rows.
        tokenizer: Any transformers tokeniser.
        fingerprint: The tokeniser's.
        max_length: Tokens at which a row is cut.
        name: Of the task, for people.
        store: Keeps the tokens.
    """
    ingredients = {
        "format": _FORMAT,
        "rows": splits.fingerprints,
        "tokenizer": fingerprint,
        "max_length": max_length,
        # They decide how a pair is cut, and what stands around it.
        "versions": {package: version(package) for package in ("tokenizers", "transformers")},
    }

    def make(folder: Path) -> None:
        file = dict[str, np.ndarray]()
        for part, rows in splits.parts().items():
            encoded = encode(rows, tokenizer, max_length)
            file[f"{part}.offsets"] = encoded.offsets
            file |= {f"{part}.columns.{name}": ids for name, ids in encoded.columns.items()}
        save_file(file, folder / _FILE)

    about = f"{name}, {max_length} tokens"
    path, _ = store.get("rows", ingredients, make, about)
    arrays = load_file(path / _FILE)
    return {part: _rows(part, rows, arrays, tokenizer) for part, rows in splits.parts().items()}


def _rows(
    part: str, rows: Rows, arrays: Mapping[str, np.ndarray], tokenizer: PreTrainedTokenizerBase
) -> TokenRows:
    prefix = f"{part}.columns."
    columns = {
        key.removeprefix(prefix): ids for key, ids in arrays.items() if key.startswith(prefix)
    }
    offsets = arrays[f"{part}.offsets"]
    return TokenRows(rows.ids, rows.labels, columns, offsets, padding_values(columns, tokenizer))
