"""Prompts, with answers and keys where there are any, before a tokeniser has seen them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from distill_lab.errors import ConfigError, DataError
from distill_lab.tasks.columns import column
from distill_lab.tasks.files import read_table
from distill_lab.tasks.rows import Ids, Part, spread

Message = tuple[str, str]
"""Role and text."""


@dataclass(frozen=True)
class Written:
    """An answer that a teacher has written.

    Attributes:
        row: Id of its prompt.
        sample: Which of the answers to it.
        text: Without the token that ends it.
        tokens: How many it has, the end among them.
        complete: Whether it came to an end.
    """

    row: int
    sample: int
    text: str
    tokens: int
    complete: bool


@dataclass(frozen=True)
class Instructions(Part):
    """Prompts of one source.

    Attributes:
        ids: Position of each row in its source, counted from 0.
        prompts: The messages that each answer follows.
        answers: What is to be said, as written by somebody; None where nobody has.
        keys: The short answer by which a written one is checked; None where there is none.
        source: Where they come from, for errors.
        cut: Rows whose answers came to no end.
    """

    ids: Ids
    prompts: list[tuple[Message, ...]]
    answers: list[str | None]
    keys: list[str | None]
    source: str
    cut: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Ids) -> Instructions:
        """Return the rows at these positions, with their ids."""
        prompts, answers, keys = (
            [side[at] for at in index] for side in (self.prompts, self.answers, self.keys)
        )
        cut = frozenset(new for new, at in enumerate(index.tolist()) if at in self.cut)
        return Instructions(self.ids[index], prompts, answers, keys, self.source, cut)

    def has(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell which rows have all of these: a "key", an "answer"."""
        sides = {"key": self.keys, "answer": self.answers}
        every = [[value is not None for value in sides[name]] for name in names]
        table = np.array(every, dtype=bool).reshape(len(names), len(self))
        found: npt.NDArray[np.bool_] = np.logical_and.reduce(table)
        return found

    def texts(self) -> Iterator[str]:
        """Yield prompts and answers."""
        for prompt, answer in zip(self.prompts, self.answers, strict=True):
            yield "".join(f"{text}\n" for _, text in prompt) + (answer or "")

    def sample(self, count: int = 32) -> list[tuple[str, ...]]:
        """Return the prompts of some rows from all over."""
        return [(self.prompts[at][-1][1],) for at in spread(len(self), count)]

    def about(self) -> str:
        """Return the number of prompts."""
        return f"{len(self):,} prompts"

    def fingerprint(self) -> str:
        """Return 16 digits that change with any id, prompt, answer or key."""
        state = hashlib.sha256()
        for row in zip(self.ids.tolist(), self.prompts, self.answers, self.keys, strict=True):
            state.update(repr(row).encode("utf-8", "surrogatepass"))
        state.update(repr(sorted(self.cut)).encode() if self.cut else b"")
        return state.hexdigest()[:16]

    def written(self, at: Sequence[int], answers: Sequence[Written]) -> Instructions:
        """Return some rows, as often as they are named, with other answers and ids of their own."""
        rows = self.take(np.asarray(at, dtype=np.int64))
        cut = frozenset(new for new, answer in enumerate(answers) if not answer.complete)
        texts: list[str | None] = [answer.text for answer in answers]
        return replace(rows, ids=np.arange(len(at)), answers=texts, cut=cut)


class Final:
    """What of a text is its answer, and whether that is right.

    Args:
        pattern: Regular expression; the last place that it fits counts, and of it the first group
            where it has one. None takes the whole text.

    Raises:
        ConfigError: If it is not a regular expression.
    """

    def __init__(self, pattern: str | None) -> None:
        try:
            self.pattern = None if pattern is None else re.compile(pattern)
        except re.error as error:
            raise ConfigError(
                f"task.final={pattern}: not a regular expression ({error})"
            ) from error

    def of(self, text: str) -> str | None:
        """Return the answer that a text comes to, without spaces around it; None for none."""
        if self.pattern is None:
            return text.strip()
        every = list(self.pattern.finditer(text))
        if not every:
            return None
        return str(every[-1][1 if self.pattern.groups else 0] or "").strip()

    def right(self, text: str, key: str) -> bool:
        """Whether a text comes to this answer."""
        return self.of(text) == key


def read_instructions(
    path: Path, prompt: str, answer: str, key: str | None, final: Final
) -> Instructions:
    """Read a file of prompts.

    Args:
        path: JSON lines, CSV, TSV or parquet.
        prompt: Column of the prompt: text, or a list of messages with `role` and `content`.
        answer: Column of the written answer; it may be missing, or empty in some rows.
        key: Column of the short answer; None takes what `final` finds in the written one.
        final: Finds it.

    Raises:
        DataError: If the file or a row cannot be used.
    """
    table = read_table(path)
    first = 1 if path.suffix in (".jsonl", ".json") else 2
    lines = [int(at) + first for at in table.index]
    prompts = [
        messages_of(value, f"{path}, line {line}", prompt)
        for line, value in zip(lines, column(table, prompt, "task.prompt", path), strict=True)
    ]
    answers = _texts(list(table[answer]) if answer in table.columns else [None] * len(table))
    if key is not None:
        keys = _texts(column(table, key, "task.key", path))
    else:
        keys = [None if text is None else final.of(text) for text in answers]
        for line, text, found in zip(lines, answers, keys, strict=True):
            if text is not None and not found:
                raise DataError(
                    f"{path}, line {line}: task.final finds no answer in column {answer!r}; change"
                    " it, or name the column of the short answers by task.key"
                )
    stripped = [None if value is None else value.strip() for value in keys]
    return Instructions(
        table.index.to_numpy(dtype=np.int64), prompts, answers, stripped, str(path)
    )  # fmt: skip


def messages_of(value: object, where: str, name: str) -> tuple[Message, ...]:
    """Return a prompt's messages.

    Args:
        value: A text, or a list of messages with `role` and `content`.
        where: File and line, for the error.
        name: Column, for the error.

    Raises:
        DataError: If it is neither, or empty.
    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    messages = list(value) if isinstance(value, (list, np.ndarray)) else []
    told = [(_field(each, "role"), _field(each, "content")) for each in messages]
    if not told or any(role is None or text is None for role, text in told):
        raise DataError(
            f"{where}: column {name!r} has no prompt; it is a text, or a list of messages, each"
            " with role and content"
        )
    if not str(told[-1][1]).strip():
        raise DataError(f"{where}: the prompt is empty")
    return tuple((str(role), str(text)) for role, text in told)


def _field(message: Any, name: str) -> str | None:
    found = message.get(name) if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


def _texts(values: Sequence[object]) -> list[str | None]:
    """Return texts, numbers as they are written, None for what is missing or empty."""
    return [_text(value) for value in values]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if value is None or pd.isna(value) is True:
        return None
    if isinstance(value, (bool, int, float, np.generic)):
        whole = isinstance(value, float) and value.is_integer()  # of a column that lacks some
        return f"{value:.0f}" if whole else str(value)
    return None
