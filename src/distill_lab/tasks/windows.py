"""Questions with their paragraphs as tokens, in windows that overlap."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ModelError
from distill_lab.tasks.questions import Questions
from distill_lab.tasks.rows import Ids, Part
from distill_lab.tasks.tokens import Arrays, TokenRows, padding_values

log = logging.getLogger(__name__)
_WINDOWS = 2**16  # more than a paragraph has
_CHUNK = 2_000


class WindowRows(TokenRows):
    """Windows of paragraphs, each behind its question.

    A window's id is that of its question times 65,536 and its number. Labels are the tokens at
    which the answer begins and ends, both the first token where the window does not hold it.

    Args:
        questions: What is asked.
        ids: Stable ids of the windows.
        labels: int64 `[windows, 2]`.
        columns: Model inputs, see `TokenRows`.
        offsets: Where each window begins, int64 `[windows + 1]`.
        padding: What fills each column beyond a window's end.
        characters: Which characters of the paragraph each token covers, from and past the last,
            int32 `[tokens, 2]`; -1 for the question and what stands between.
    """

    def __init__(
        self,
        questions: Questions,
        ids: Ids,
        labels: npt.NDArray[np.int64],
        columns: dict[str, npt.NDArray[np.int32]],
        offsets: npt.NDArray[np.int64],
        padding: dict[str, int],
        characters: npt.NDArray[np.int32],
    ) -> None:
        super().__init__(ids, labels, columns, offsets, padding)
        self.questions = questions
        self.characters = characters

    def asked(self, positions: Sequence[int]) -> Tensor:
        """Return which tokens belong to the paragraph, bool `[windows, longest]`."""
        where = np.asarray(positions)
        starts, ends = self.offsets[where], self.offsets[where + 1]
        found = np.zeros((len(where), int((ends - starts).max())), dtype=bool)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            found[row, : end - start] = self.characters[start:end, 0] >= 0
        return torch.from_numpy(found)

    def question_of(self, at: Ids | None = None) -> Ids:
        """Return which question each window belongs to, as its place among the questions."""
        ids = self.ids if at is None else self.ids[at]
        return np.searchsorted(self.questions.ids, ids // _WINDOWS)

    def asked_questions(self, at: Ids | None = None) -> Ids:
        """Return the places of the questions to which these windows belong, each once."""
        return np.unique(self.question_of(at))

    @property
    def things(self) -> int:
        """How many questions there are."""
        return len(self.questions)

    def text(self, window: int, first: int, last: int) -> str:
        """Return what stands in the paragraph from one token of a window to another."""
        start = self.offsets[window]
        begin, end = self.characters[start + first, 0], self.characters[start + last, 1]
        assert self.questions.pair is not None
        owner = int(self.question_of(np.asarray([window]))[0])
        return self.questions.pair[owner][begin:end].strip()

    def arrays(self) -> Arrays:
        """Return what a tokeniser has made of the questions, for the store."""
        more = {"ids": self.ids, "labels": self.labels, "characters": self.characters}
        return {**super().arrays(), **more}

    @classmethod
    def restored(cls, rows: Part, arrays: Arrays, tokenizer: PreTrainedTokenizerBase) -> WindowRows:
        """Return the questions with what a tokeniser has made of them."""
        assert isinstance(rows, Questions)
        plain = TokenRows.restored(rows, arrays, tokenizer)
        return cls(
            rows, arrays["ids"], arrays["labels"], plain.columns, plain.offsets, plain.padding,
            arrays["characters"],
        )  # fmt: skip


def encode_windows(
    questions: Questions,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    stride: int,
    max_question: int,
) -> WindowRows:
    """Tokenise questions and paragraphs.

    Args:
        questions: What is asked.
        tokenizer: A fast one, which tells the characters of each token.
        max_length: Tokens of a window, the question's among them.
        stride: Tokens of the paragraph that a window has in common with the next one.
        max_question: Tokens at which a question is cut.

    Raises:
        ModelError: If the tokeniser cannot tell where tokens stand.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"teacher.model: {type(tokenizer).__name__} does not tell which characters a token"
            " covers, which question answering needs; take a model with a fast tokeniser"
        )
    texts = _cut(questions, tokenizer, max_question)
    parts: dict[str, list[npt.NDArray[np.int32]]] = {}
    ids, labels, lengths = list[int](), list[tuple[int, int]](), list[int]()
    characters: list[npt.NDArray[np.int32]] = []
    for start in range(0, len(questions), _CHUNK):
        cut = slice(start, start + _CHUNK)
        assert questions.pair is not None
        encoded = tokenizer(
            texts[cut], questions.pair[cut], truncation="only_second", max_length=max_length,
            stride=stride, return_overflowing_tokens=True, return_offsets_mapping=True,
            return_attention_mask=False,
        )  # fmt: skip
        number, before = 0, -1
        owners = encoded.pop("overflow_to_sample_mapping")
        places = encoded.pop("offset_mapping")
        for window, owner in enumerate(owners):
            number = number + 1 if owner == before else 0
            before = owner
            covered = np.asarray(places[window], dtype=np.int32).reshape(-1, 2)
            inside = np.asarray([of == 1 for of in encoded.sequence_ids(window)])
            covered[~inside | (covered[:, 0] == covered[:, 1])] = -1
            characters.append(covered)
            lengths.append(len(covered))
            ids.append(int(questions.ids[start + owner]) * _WINDOWS + number)
            labels.append(_label(covered, *questions.labels[start + owner].tolist()))
        for name, values in encoded.items():
            parts.setdefault(name, []).append(np.concatenate([np.int32(v) for v in values]))
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return WindowRows(
        questions, np.asarray(ids, dtype=np.int64), np.asarray(labels, dtype=np.int64), columns,
        offsets, padding_values(columns, tokenizer), np.concatenate(characters),
    )  # fmt: skip


def _label(characters: npt.NDArray[np.int32], first: int, end: int) -> tuple[int, int]:
    """Return the tokens of an answer; the first token twice where the window does not hold all."""
    inside = np.flatnonzero(characters[:, 0] >= 0)
    if first < 0 or not len(inside):
        return 0, 0
    starts, ends = characters[inside, 0], characters[inside, 1]
    if starts[0] > first or ends[-1] < end:
        return 0, 0
    begins = int(np.searchsorted(ends, first, side="right"))
    stops = int(np.searchsorted(starts, end, side="left")) - 1
    if stops < begins:  # the answer is nothing but what no token covers
        return 0, 0
    return int(inside[begins]), int(inside[stops])


def _cut(questions: Questions, tokenizer: PreTrainedTokenizerBase, longest: int) -> list[str]:
    """Return questions of at most so many tokens, and say how many were longer."""
    texts, cut = list(questions.text), list[str]()
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    for position, places in enumerate(encoded["offset_mapping"]):
        if len(places) > longest:
            cut.append(questions.names[position])
            texts[position] = texts[position][: places[longest - 1][1]]
    if cut:
        log.warning(
            "task: %d questions are cut at %d tokens (task.max_question), such as %s",
            len(cut), longest, cut[0],
        )  # fmt: skip
    return texts
