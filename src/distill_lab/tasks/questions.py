"""Questions on paragraphs, as SQuAD has them: read, and held against their paragraphs."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_lab.errors import DataError
from distill_lab.plain_json import json_of
from distill_lab.tasks.rows import Ids, Rows

log = logging.getLogger(__name__)
_ARTICLES = 10  # fewer are too few to be divided


@dataclass(frozen=True)
class Questions(Rows):
    """Questions with the paragraphs that answer them.

    `text` holds the questions and `pair` the paragraphs; `labels` the characters at which the first
    accepted answer begins and ends (past its last), `[rows, 2]`, -1 where there is none.

    Attributes:
        names: The ids that the data give the questions.
        groups: Article of each question, `[rows]`.
        answers: Accepted answers of each question; none where the paragraph has none.
    """

    names: list[str]
    groups: Ids
    answers: list[tuple[str, ...]]

    def take(self, index: Ids) -> Questions:
        """Return the questions at these positions, with their ids."""
        assert self.pair is not None
        return Questions(
            self.ids[index],
            [self.text[i] for i in index],
            [self.pair[i] for i in index],
            self.labels[index],
            [self.names[i] for i in index],
            self.groups[index],
            [self.answers[i] for i in index],
        )

    def fingerprint(self) -> str:
        """Return 16 digits that change with any id, question, paragraph or answer."""
        assert self.pair is not None
        state = hashlib.sha256()
        for row in zip(
            self.ids.tolist(), self.names, self.text, self.pair, self.labels.tolist(),
            self.answers, strict=True,
        ):  # fmt: skip
            state.update(repr(row).encode())
        return state.hexdigest()[:16]


@dataclass(frozen=True)
class _Asked:
    """One question as a file has it."""

    name: str
    text: str
    context: str
    group: str
    answers: tuple[tuple[str, int], ...]
    impossible: bool


def read_squad(path: Path) -> Iterator[_Asked]:
    """Yield the questions of an official SQuAD file, v1.1 or v2.0.

    Raises:
        DataError: If it is none.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
    content = json_of(text, path)
    try:
        for number, article in enumerate(content["data"]):
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield _Asked(
                        str(asked["id"]),
                        str(asked["question"]),
                        str(paragraph["context"]),
                        str(article.get("title", number)),
                        () if asked.get("is_impossible") else _accepted(asked["answers"]),
                        bool(asked.get("is_impossible", False)),
                    )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a SQuAD file, which has data, paragraphs, qas, id, question and answers"
            f" ({type(error).__name__}: {error})"
        ) from error


def _accepted(answers: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((str(one["text"]), int(one["answer_start"])) for one in answers)


def read_hub(table: Iterable[Mapping[str, Any]]) -> Iterator[_Asked]:
    """Yield the questions of a hub dataset that is built as `rajpurkar/squad` is."""
    for row in table:
        given = row["answers"]
        answers = tuple(zip(given["text"], map(int, given["answer_start"]), strict=True))
        yield _Asked(
            str(row["id"]), row["question"], row["context"], row.get("title", ""), answers,
            not answers,
        )  # fmt: skip


def to_questions(
    asked: Iterable[_Asked], where: str, no_answers: bool, for_training: bool
) -> Questions:
    """Hold questions against their paragraphs.

    An answer that stands elsewhere in its paragraph than the file says is moved to the nearest
    place. Questions without a text or a paragraph, and those whose answer is nowhere in it, are
    left out of training; how many there are, and which is the first, is told.

    Args:
        asked: As read.
        where: File or dataset, for what is told.
        no_answers: Whether a question may be without an answer.
        for_training: Whether a place is needed; for scoring the texts suffice.

    Raises:
        DataError: If nothing is left, ids are not unique, or a question has no answer where each
            must have one.
    """
    kept, spans, ids = list[_Asked](), list[tuple[int, int]](), list[int]()
    problems: dict[str, list[str]] = {}
    for position, one in enumerate(asked):
        span, moved = _place(one)
        blank = not one.text.strip() or not one.context.strip()
        if not one.answers and not no_answers:
            raise DataError(
                f"{where}: question {one.name} has no answer; for data in which some have none"
                " take task=squad_v2"
            )
        out = " and are left out" if for_training else ""
        if blank:
            problems.setdefault(f"have no text or an empty paragraph{out}", []).append(one.name)
            if for_training:
                continue
        elif one.answers and span == (-1, -1):
            lost = "have an answer that does not occur in its paragraph"
            problems.setdefault(lost + out, []).append(one.name)
            if for_training:
                continue
        elif moved:
            problems.setdefault("have an answer that stands elsewhere and was moved", []).append(
                one.name
            )
        kept.append(one)
        spans.append(span)
        ids.append(position)
    for what, names in problems.items():
        log.warning("%s: %d questions %s, such as %s", where, len(names), what, names[0])
    return _questions(kept, spans, ids, where)


def _questions(
    kept: list[_Asked], spans: list[tuple[int, int]], ids: list[int], where: str
) -> Questions:
    if not kept:
        raise DataError(f"{where}: there are no questions")
    names = [one.name for one in kept]
    if len(set(names)) < len(names):
        seen = set[str]()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: the id {twice} stands for two questions")
    groups = {name: number for number, name in enumerate(dict.fromkeys(o.group for o in kept))}
    return Questions(
        np.asarray(ids, dtype=np.int64),
        [one.text.strip() for one in kept],
        [one.context for one in kept],
        np.asarray(spans, dtype=np.int64),
        names,
        np.asarray([groups[one.group] for one in kept], dtype=np.int64),
        [() if one.impossible else tuple(text for text, _ in one.answers) for one in kept],
    )


def _place(one: _Asked) -> tuple[tuple[int, int], bool]:
    """Return the characters of the first answer, and whether it stands elsewhere than was said."""
    if not one.answers or one.impossible:
        return (-1, -1), False
    text, start = one.answers[0]
    if text and one.context[start : start + len(text)] == text and start >= 0:
        return (start, start + len(text)), False
    text = text.strip()
    found = [at for at in range(len(one.context)) if text and one.context.startswith(text, at)]
    if not found:
        return (-1, -1), False
    nearest = min(found, key=lambda at: abs(at - start))
    return (nearest, nearest + len(text)), True


def carve_groups(
    questions: Questions, fraction: float, at_most: int | None = None
) -> tuple[Questions, Questions]:
    """Divide questions so that no article is in both parts, the same way in every run.

    Of data with fewer than ten articles, paragraphs are kept together instead.

    Args:
        questions: What to divide.
        fraction: Share of the part, between 0 and 1; reached as nearly as whole articles allow,
            from below but for the first.
        at_most: Upper bound of the part's questions.

    Returns:
        The rest and the part, both in their original order.

    Raises:
        DataError: If one of the two would be empty.
    """
    assert questions.pair is not None
    groups = questions.groups
    if len(np.unique(groups)) < _ARTICLES:
        known = {context: number for number, context in enumerate(dict.fromkeys(questions.pair))}
        groups = np.asarray([known[context] for context in questions.pair])
    size = round(len(questions) * fraction)
    size = size if at_most is None else min(size, at_most)
    chosen = np.zeros(len(questions), dtype=bool)
    for group in np.random.default_rng(0).permutation(np.unique(groups)):
        members = groups == group
        if not chosen.any() or (chosen | members).sum() <= size:
            chosen |= members
    if chosen.all():
        raise DataError(
            f"{len(questions)} questions on one paragraph cannot be divided into training and"
            " selection; give more paragraphs"
        )
    return questions.take(np.flatnonzero(~chosen)), questions.take(np.flatnonzero(chosen))
