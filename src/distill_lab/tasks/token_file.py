"""A corpus as one line of tokens on disk, mapped and not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import DataError
from distill_lab.store import Store
from distill_lab.tasks.corpus import Text

_FORMAT = 1  # raised when what the store holds of corpora changes
_TOKENS, _ABOUT = "tokens.npy", "about.json"
_TOGETHER = 8  # pieces that are tokenised at once


@dataclass(frozen=True)
class TokenFile:
    """The tokens of a corpus, one document after another.

    Attributes:
        tokens: Mapped, `[tokens]`.
        size: Bytes of the text in UTF-8.
    """

    tokens: npt.NDArray[np.uint16] | npt.NDArray[np.int32]
    size: int


def stored_tokens(
    corpus: Text,
    tokenizer: PreTrainedTokenizerBase,
    fingerprint: str,
    separator: int | None,
    name: str,
    store: Store,
) -> TokenFile:
    """Return a corpus as tokens, from the store where it is there.

    Args:
        corpus: What is read.
        tokenizer: A fast one, without special tokens of its own.
        fingerprint: The tokeniser's.
        separator: Token that ends each document; None for none.
        name: Of corpus and task, for people.
        store: Keeps the tokens.
    """
    ingredients = {
        "format": _FORMAT,
        "corpus": corpus.fingerprint(),
        "tokenizer": fingerprint,
        "separator": separator,
        "versions": {package: version(package) for package in ("tokenizers", "transformers")},
    }

    def make(folder: Path) -> None:
        size = _write(folder / _TOKENS, corpus, tokenizer, separator)
        (folder / _ABOUT).write_text(json.dumps({"bytes": size}), encoding="utf-8")

    path, _ = store.get("tokens", ingredients, make, f"{name}, {corpus.about()}")
    about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
    return TokenFile(np.load(path / _TOKENS, mmap_mode="r", allow_pickle=False), about["bytes"])


def _write(
    path: Path, corpus: Text, tokenizer: PreTrainedTokenizerBase, separator: int | None
) -> int:
    """Write the tokens as they come; return the bytes of the text."""
    kind = np.dtype("<u2") if len(tokenizer) <= 2**16 else np.dtype("<i4")
    size = count = 0
    with path.open("wb") as file:
        _header(file, kind, 0)
        pieces = corpus.pieces()
        while group := list(islice(pieces, _TOGETHER)):
            size += sum(len(text.encode("utf-8", "surrogatepass")) for text, _ in group)
            for part in _tokens(group, tokenizer, separator):
                file.write(part.astype(kind).tobytes())
                count += len(part)
        file.seek(0)
        _header(file, kind, count)  # numpy leaves room for the digits of a longer array
    if count == 0:
        raise DataError(f"{corpus.where}: the tokeniser finds no token in it")
    return size


def _header(file: object, kind: np.dtype[np.generic], count: int) -> None:
    content = {"descr": kind.str, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, content)  # type: ignore[arg-type]


def _tokens(
    group: list[tuple[str, bool]], tokenizer: PreTrainedTokenizerBase, separator: int | None
) -> Iterator[npt.NDArray[np.int64]]:
    encoded = tokenizer(
        [text for text, _ in group], add_special_tokens=False, return_attention_mask=False,
        return_token_type_ids=False, verbose=False,
    )  # fmt: skip
    for ids, (_, ends) in zip(encoded["input_ids"], group, strict=True):
        yield np.asarray(ids, dtype=np.int64)
        if ends and separator is not None:
            yield np.asarray([separator])
