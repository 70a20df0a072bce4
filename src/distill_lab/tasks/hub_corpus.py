"""Text of a hub dataset: on disk as it was downloaded, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from distill_lab.errors import ConfigError, DataError
from distill_lab.tasks.corpus import Corpus, Text, find_files, in_pieces
from distill_lab.tasks.hub import load_hub

_HUB = "hub:"
_ROWS = 1000  # that are read at once


@dataclass(frozen=True)
class HubCorpus(Text):
    """A split of a hub dataset.

    Attributes:
        name: On the hub.
        config: Its configuration; empty for the only one.
        split: For example "train".
        column: Column of the text.
        lines: Whether rows are lines of one text, rather than documents.
    """

    name: str
    config: str
    split: str
    column: str
    lines: bool

    @property
    def where(self) -> str:
        """The name that was typed."""
        return f"{_HUB}{self.name}:{self.config}:{self.split}"

    @property
    def state(self) -> object:
        """The fingerprint of the files in the cache."""
        return str(self._rows()._fingerprint)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield the text in pieces, and whether a document ends with each.

        Raises:
            DataError: If the dataset is out of reach, or has no such text.
        """
        rows = self._rows()
        if self.column not in rows.column_names:
            raise DataError(
                f"task.text={self.column}: {self.where} has no such column (it has"
                f" {', '.join(rows.column_names[:12])})"
            )
        batches = rows.select_columns([self.column]).iter(batch_size=_ROWS)
        texts = (text for batch in batches for text in batch[self.column] if isinstance(text, str))
        told = in_pieces(_lines(texts), self.where) if self.lines else _documents(texts)
        empty = True
        for piece in told:
            empty = False
            yield piece
        if empty:
            raise DataError(f"{self.where}: the dataset has no text")

    def about(self) -> str:
        """Return the number of rows."""
        return f"{len(self._rows()):,} rows"

    def _rows(self) -> Any:
        return _loaded(self.name, self.config, self.split)


def find_text(places: Sequence[str], key: str, column: str, lines: bool) -> Text:
    """Return the text at some places.

    Args:
        places: Files and folders, or one "hub:NAME:CONFIGURATION:SPLIT".
        key: Configuration key that named them, for errors.
        column: Column of the text, in files of rows.
        lines: Whether rows of a hub dataset are lines of one text.

    Raises:
        UsageError: If there is none.
    """
    if not places:
        raise ConfigError(f"{key}=[]: name at least one file")
    if not any(place.startswith(_HUB) for place in places):
        return Corpus(find_files(places, key), column)
    parts = places[0].removeprefix(_HUB).split(":")
    if len(places) > 1 or len(parts) != 3 or not parts[0] or not parts[2]:
        raise ConfigError(
            f"{key}={', '.join(places)}: name one dataset as hub:NAME:CONFIGURATION:SPLIT, for"
            " example hub:Salesforce/wikitext:wikitext-103-raw-v1:train; CONFIGURATION may be empty"
        )
    return HubCorpus(parts[0], parts[1], parts[2], column, lines)


@lru_cache
def _loaded(name: str, config: str, split: str) -> Any:
    return load_hub(name, config or None, split, "task.train")


def _lines(texts: Iterator[str]) -> Iterator[str]:
    return (text if text.endswith("\n") else f"{text}\n" for text in texts)


def _documents(texts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    return ((text, True) for text in texts if text.strip())
