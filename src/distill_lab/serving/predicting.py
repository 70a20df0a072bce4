"""`distill-lab predict`: from texts, a file or standard input to answers."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from distill_lab.disk import saving
from distill_lab.errors import DataError
from distill_lab.folders import temporary
from distill_lab.serving.asking import Answers, Options, ask, unanswered
from distill_lab.serving.columns import Asked, read_by
from distill_lab.serving.reading import read_rows
from distill_lab.serving.served import Served
from distill_lab.serving.tables import as_line

_AT_ONCE = 1 << 18  # bytes of standard input that are answered together


@dataclass(frozen=True)
class Chosen:
    """Which columns of a file are read, in place of the task's own.

    Attributes:
        text: Of the first text; None for the task's.
        pair: Of the second.
    """

    text: str | None = None
    pair: str | None = None


def of_texts(served: Served, texts: Sequence[str], options: Options) -> list[str]:
    """Return a line for each text that was typed: its answer, and the text.

    Of a task on pairs, two texts make a row, or one with a tab between.

    Raises:
        DataError: If a second text is missing.
    """
    if _pairs(served) and not any("\t" in text for text in texts):
        if len(texts) % 2:
            raise DataError(
                f"{served.folder}: the student reads pairs, and {len(texts)} texts are no pairs;"
                " type both texts of each row"
            )
        texts = [f"{one}\t{other}" for one, other in zip(texts[::2], texts[1::2], strict=True)]
    return list(_lines(served, texts, lambda at: f"text {at + 1}", options))


def of_stream(served: Served, source: IO[bytes], options: Options) -> Iterator[str]:
    """Yield a line for each line of standard input as soon as it can be answered.

    Raises:
        DataError: At a line that cannot be read; those before it have been answered.
    """
    first = 1
    for lines in _together(source):
        texts = [_text(line, first + at) for at, line in enumerate(lines)]
        good = list(itertools.takewhile(lambda text: text is not None, texts))
        name = partial(_line, first)
        if good:
            yield from _lines(served, [str(text) for text in good], name, options)
        if len(good) < len(lines):
            raise DataError(f"standard input, {name(len(good))}: not UTF-8 text")
        first += len(lines)


def _together(source: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines that are there, without waiting for more of them."""
    rest, read = b"", getattr(source, "read1", source.read)
    while content := read(_AT_ONCE):
        *whole, rest = (rest + content).split(b"\n")
        if whole:
            yield whole
    if rest:
        yield [rest]


def _text(line: bytes, number: int) -> str | None:
    """Return a line's text, None where it is not UTF-8; the first may have a BOM."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
    except UnicodeDecodeError:
        return None


def _line(first: int, at: int) -> str:
    return f"line {first + at}"


def _lines(served: Served, lines: Sequence[str], name: Any, options: Options) -> Iterable[str]:
    first, second = list(lines), None
    if _pairs(served):
        both = [line.partition("\t") for line in lines]
        for at, (text, tab, _) in enumerate(both):
            if text.strip() and not tab:
                raise DataError(
                    f"{name(at)}: the student reads pairs; a tab stands between the two texts"
                )
        first, second = [one for one, _, _ in both], [other for _, _, other in both]
    answers = ask(served, Asked(first, second, name), options)
    _say(unanswered(answers, name))
    for at, line in enumerate(lines):
        yield f"{as_line([values[at] for values in answers.columns.values()])}\t{line}"


def _pairs(served: Served) -> bool:
    return read_by(served.task)[1] is not None


def of_file(
    served: Served, path: Path, out: Path | None, chosen: Chosen, options: Options
) -> Answers:
    """Answer the rows of a file, and write it again with the answers beside them.

    Args:
        served: The student.
        path: The file.
        out: Where to write, in the same format; None for standard output.
        chosen: Columns to read.
        options: How.

    Raises:
        DataError: If the file, or where to write, cannot be used.
        DiskError: If the disk is full, or may not be written to.
    """
    check_out(path, out)
    table = read_rows(path, served.task)
    text, pair = read_by(served.task)
    text, pair = chosen.text or text, chosen.pair or pair
    first = table.column(text, "--text")
    second = None if pair is None else table.column(pair, "--pair")
    asked = Asked(first, second, table.line, text)
    answers = ask(served, asked, options)
    table.check_new(list(answers.columns))
    _say(unanswered(answers, table.line))
    content = table.written(answers.columns)
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        write_whole(out, content)
    return answers


def check_out(path: Path, out: Path | None) -> None:
    """Refuse an output in another format, or over the input.

    Raises:
        DataError: If it is.
    """
    if out is None:
        if path.suffix == ".parquet":
            raise DataError(
                f"{path}: a parquet file is no text for the terminal; name -o OUT.parquet"
            )
        return
    if out.suffix != path.suffix:
        raise DataError(
            f"-o {out}: the answers keep the format of {path}; let its name end in {path.suffix}"
        )
    if out.is_dir():
        raise DataError(f"-o {out}: it is a folder; name a file")
    if out.exists() and path.exists() and os.path.samefile(out, path):
        raise DataError(f"-o {out}: it is the file that is read; name another")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        DiskError: If the disk is full, or may not be written to.
    """
    with saving(path.parent, "--output"):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(path)
        try:
            work.write_bytes(content)
            work.replace(path)
        finally:
            work.unlink(missing_ok=True)


def _say(sentence: str) -> None:
    if sentence:
        print(f"distill-lab: {sentence}", file=sys.stderr)
