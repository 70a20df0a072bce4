"""Text of any length: read piece by piece, never as a whole."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from distill_lab.errors import DataError, first_line
from distill_lab.plain_json import json_lines
from distill_lab.tasks.rows import Part

_BLOCK = 2**20  # characters that are read at once
_LONGEST = 2**23  # of a piece without a place to cut
_PLAIN = (".txt", ".text", ".md", ".raw", ".tokens")
_TABLES = (".jsonl", ".json", ".parquet")


class Text(Part):
    """Text of any length, read in pieces."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it comes from, for errors."""

    @property
    @abstractmethod
    def state(self) -> object:
        """What changes when the text does, and is found without reading it."""

    @abstractmethod
    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield the text in pieces of about a MiB, and whether a document ends with each.

        Raises:
            DataError: If it is not text, or there is none at all.
        """

    def texts(self) -> Iterator[str]:
        """Yield the text in pieces."""
        return (piece for piece, _ in self.pieces())

    def sample(self, count: int = 32) -> list[tuple[str, ...]]:
        """Return the beginnings of some pieces."""
        return [(piece[:2000],) for piece in islice(self.texts(), count)]

    def fingerprint(self) -> str:
        """Return 16 digits that change with any character."""
        return _fingerprint(self, self.state)


@dataclass(frozen=True)
class Corpus(Text):
    """Files of plain text, each a document, or of rows, each a document.

    Attributes:
        files: In order.
        column: Column of the text, in files of rows.
    """

    files: tuple[Path, ...]
    column: str = "text"

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield the text in pieces of about a MiB, and whether a document ends with each.

        Plain text is cut before a line that begins with one space or follows another line directly,
        which no tokeniser that splits at spaces can notice, GPT-2's neither; text without such a
        place within 8 MiB, before a space, or anywhere.

        Raises:
            DataError: If a file is not text, or there is none at all.
        """
        empty = True
        for path in self.files:
            documents = _of_rows(path, self.column) if path.suffix in _TABLES else _of_text(path)
            for piece in documents:
                empty = False
                yield piece
        if empty:
            raise DataError(f"{self.files[0]}: the file has no text")

    @property
    def where(self) -> str:
        """The first file."""
        return str(self.files[0])

    @property
    def state(self) -> object:
        """Names, sizes and times of the files."""
        return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.files)

    def about(self) -> str:
        """Return how much there is, for people."""
        size = sum(path.stat().st_size for path in self.files)
        files = "" if len(self.files) == 1 else f" in {len(self.files)} files"
        return f"{size / 1e6:,.1f} MB{files}"


@lru_cache
def _fingerprint(corpus: Text, state_: object) -> str:
    state = hashlib.sha256()
    for piece, ends in corpus.pieces():
        state.update(piece.encode("utf-8", "surrogatepass") + (b"\0" if ends else b""))
    return state.hexdigest()[:16]


def find_files(places: Sequence[str], key: str) -> tuple[Path, ...]:
    """Return the files of text at some places, those of folders in the order of their names.

    Args:
        places: Files and folders.
        key: Configuration key that named them, for errors.

    Raises:
        DataError: If there is none.
    """
    found = list[Path]()
    for place in map(Path, places):
        if os.path.isdir(place):
            inside = [p for p in sorted(place.rglob("*")) if p.suffix in (*_PLAIN, *_TABLES)]
            if not inside:
                raise DataError(f"{key}={place}: the folder has no files of text (.txt, .jsonl, …)")
            found += [path for path in inside if path.is_file()]
        elif not os.path.isfile(place):
            raise DataError(f"{key}={place}: there is no such file or folder")
        elif place.stat().st_size == 0:
            raise DataError(f"{place}: the file is empty")
        else:
            found.append(place)
    return tuple(found)


def _of_text(path: Path) -> Iterator[tuple[str, bool]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from in_pieces(iter(lambda: file.read(_BLOCK), ""), str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; convert it, for example with iconv") from error


def in_pieces(blocks: Iterable[str], where: str) -> Iterator[tuple[str, bool]]:
    """Cut one document where no tokeniser can notice; yield pieces and which is the last.

    Args:
        blocks: Its text, one part after another.
        where: Where it comes from, for errors.

    Raises:
        DataError: If it is not text.
    """
    rest = ""
    for block in blocks:
        if "\0" in block:
            raise DataError(f"{where}: not a text file (it has bytes of value 0)")
        rest += block
        at = _place_to_cut(rest) if len(rest) >= _BLOCK else 0
        if at:
            yield rest[:at], False
            rest = rest[at:]
    if rest:
        yield rest, True


def _place_to_cut(text: str) -> int:
    """Return where the last line that follows another begins; 0 for nowhere yet."""
    at = len(text) - 2
    while (at := text.rfind("\n", 1, at)) > 0:
        first, second = text[at + 1], text[at + 2]
        alone = not first.isspace() and not text[at - 1].isspace()
        if alone or (first == " " and not second.isspace()):
            return at + 1
    if len(text) < _LONGEST:
        return 0
    at = len(text)
    while (at := text.rfind(" ", 1, at)) > 0:
        if at + 1 < len(text) and not text[at + 1].isspace() and not text[at - 1].isspace():
            return at
    return len(text)


def _of_rows(path: Path, column: str) -> Iterator[tuple[str, bool]]:
    if path.suffix in (".jsonl", ".json"):
        yield from _of_json_lines(path, column)
        return
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        if column not in file.schema_arrow.names:
            names = ", ".join(file.schema_arrow.names[:12])
            raise DataError(f"task.text={column}: {path} has no such column (it has {names})")
        for batch in file.iter_batches(columns=[column]):
            for value in batch.column(0).to_pylist():
                if isinstance(value, str) and value.strip():
                    yield value, True
    except (pa.ArrowException, OSError) as error:
        reason = first_line(error)
        raise DataError(f"{path}: not a readable parquet file ({reason})") from error


def _of_json_lines(path: Path, column: str) -> Iterator[tuple[str, bool]]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, row in json_lines(file, path):
                if not isinstance(row.get(column), str):
                    raise DataError(
                        f"{path}, line {number}: no text at task.text={column}; each line is an"
                        " object that has one"
                    )
                if row[column].strip():
                    yield row[column], True
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text") from error
