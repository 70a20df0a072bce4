"""Rows as tokens: encoded once, padded to the longest of a batch."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import Ids, Part, Rows, has_label
from distill_lab.types import Batch

Arrays = Mapping[str, npt.NDArray[Any]]
"""What the store keeps of rows, by name."""
Own = TypeVar("Own", bound="TokenRows")
_CHUNK = 10_000


class TokenRows(ModelRows):
    """Token rows in flat arrays.

    Args:
        ids: Stable row ids `[rows]`.
        labels: Class ids or targets `[rows]`, or `[rows, answers]` where a row has several.
        columns: Model inputs by name (`input_ids`, maybe `token_type_ids`), each the rows'
            tokens one after another, int32 `[tokens]`.
        offsets: Where each row begins, int64 `[rows + 1]`.
        padding: Value that fills each column beyond a row's end.
    """

    def __init__(
        self,
        ids: Ids,
        labels: npt.NDArray[np.int64] | npt.NDArray[np.float32],
        columns: dict[str, npt.NDArray[np.int32]],
        offsets: npt.NDArray[np.int64],
        padding: dict[str, int],
    ) -> None:
        super().__init__(ids, labels)
        self.columns = columns
        self.offsets = offsets
        self.padding = padding

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row, `[rows]`."""
        return np.diff(self.offsets)

    def tokens_of(self, position: int) -> npt.NDArray[np.int64]:
        """Return the tokens of a row."""
        part = self.columns["input_ids"][slice(*self.offsets[position : position + 2])]
        return part.astype(np.int64)

    def labelled(self) -> TokenRows:
        """Return the rows that have a label."""
        known = has_label(self.labels)
        return self if known.all() else self.take(np.flatnonzero(known))

    def take(self: Own, index: Ids) -> Own:
        """Return the rows at these positions, with their ids."""
        some, lengths = copy.copy(self), self.lengths[index]
        some.ids, some.labels = self.ids[index], self.labels[index]
        some.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = self.offsets[index] - some.offsets[:-1]
        where = np.repeat(starts, lengths) + np.arange(some.offsets[-1])
        some.columns = {name: values[where] for name, values in self.columns.items()}
        return some

    def arrays(self) -> Arrays:
        """Return what a tokeniser has made of the rows, for the store."""
        columns = {f"columns.{name}": ids for name, ids in self.columns.items()}
        return {"offsets": self.offsets, **columns}

    @classmethod
    def restored(cls, rows: Part, arrays: Arrays, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        """Return the rows with what a tokeniser has made of them.

        Args:
            rows: As they were encoded.
            arrays: From `arrays`.
            tokenizer: The same; tells what padding is.
        """
        assert isinstance(rows, Rows)
        columns = {
            name.removeprefix("columns."): ids
            for name, ids in arrays.items()
            if name.startswith("columns.")
        }
        fill = padding_values(columns, tokenizer)
        return cls(rows.ids, rows.labels, columns, arrays["offsets"], fill)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the rows at these positions as one batch, padded to its longest."""
        teacher = {} if self.for_teacher is None else self.for_teacher.padded(positions)
        where, asked = np.asarray(positions), self.asked(positions)
        return Batch(
            torch.from_numpy(self.ids[where]),
            self.padded(positions),
            torch.from_numpy(self.labels[where]).flatten(),
            asked,
            "rows" if asked is None else "spans",
            teacher,
            getattr(positions, "per_step", {}),
        )

    def asked(self, positions: Sequence[int]) -> Tensor | None:
        """Return where answers may lie, None where rows are answered as a whole."""
        return None

    def padded(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return the models' inputs for these rows, padded to the longest."""
        where = np.asarray(positions)
        starts, ends = self.offsets[where], self.offsets[where + 1]
        mask = np.arange((ends - starts).max())[None, :] < (ends - starts)[:, None]
        source = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        inputs = {}
        for name, values in self.columns.items():
            padded = np.full(mask.shape, self.padding[name], dtype=np.int64)
            padded[mask] = values[source]
            inputs[name] = torch.from_numpy(padded)
        inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return inputs


def padded(
    rows: Sequence[Mapping[str, npt.NDArray[Any]]], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor]:
    """Return rows that are in no table as models' inputs, padded to the longest.

    Args:
        rows: Tokens of each, by the name of the input.
        tokenizer: Tells what padding is.
    """
    names, lengths = list(rows[0]), [len(row["input_ids"]) for row in rows]
    columns = {name: np.concatenate([np.int32(row[name]) for row in rows]) for name in names}
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.arange(len(rows))
    table = TokenRows(ids, ids, columns, offsets, padding_values(columns, tokenizer))
    return table.padded(range(len(rows)))


def encode(rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenRows:
    """Tokenise rows.

    Args:
        rows: Texts or pairs.
        tokenizer: Any transformers tokeniser.
        max_length: Tokens at which a row is cut, the longer text first.
    """
    columns: dict[str, list[npt.NDArray[np.int32]]] = {}
    lengths: list[int] = []
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        pair = None if rows.pair is None else rows.pair[part]
        encoded = tokenizer(
            rows.text[part], pair, truncation=True, max_length=max_length,
            return_attention_mask=False,
        )  # fmt: skip
        lengths += [len(tokens) for tokens in encoded["input_ids"]]
        for name, values in encoded.items():
            columns.setdefault(name, []).append(np.concatenate([np.int32(v) for v in values]))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    return TokenRows(rows.ids, rows.labels, whole, offsets, padding_values(whole, tokenizer))


def padding_values(columns: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return what fills each column beyond a row's end."""
    return {name: padding(tokenizer) if name == "input_ids" else 0 for name in columns}


def padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that fills a row; without one 0 stands there, and is masked."""
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) else 0


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 16 digits that change with the vocabulary, the way text is cut, or the chat template.

    Lengths for padding and truncation, which vary from call to call, are left out.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend else tokenizer.get_vocab()
    varying = ("padding", "truncation")
    fixed = {k: v for k, v in content.items() if k not in varying}
    cut = [tokenizer.truncation_side, list(tokenizer.model_input_names)]
    if tokenizer.chat_template:  # what a prompt stands in, and what ends an answer
        cut += [tokenizer.chat_template, tokenizer.eos_token]
    text = json.dumps([fixed, cut], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
