"""Rows for the teacher alone to label: unlabelled ones of a file, and copies with other words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, DataError
from distill_lab.tasks.columns import column
from distill_lab.tasks.files import read_table
from distill_lab.tasks.rows import Rows

Proposals = npt.NDArray[np.int64]
Propose = Callable[[list["Copy"]], list[Proposals]]
"""Returns for each copy the tokens that may stand at its places, `[places, candidates]`."""


@dataclass(frozen=True)
class Augment:
    """More rows for the transfer set; none has a label, so the teacher alone teaches them.

    Args:
        copies: Copies of each training row in which some words are others (Jiao et al. 2020, arXiv
            1909.10351, algorithm 1).
        share: Of a row's words that are replaced.
        by: Whence the other words: "masked_lm", the likeliest ones of a masked language model that
            sees the rest of the row; "embeddings", those nearest to the word among the teacher's
            input embeddings.
        model: Folder or hub name of the masked language model, with the teacher's tokeniser.
        candidates: So many of the likeliest or nearest are drawn from, alike.
        seed: With row and copy, fixes what is drawn.
        file: Further rows without labels: CSV, TSV, JSON lines or parquet.
        text: Their column of the (first) text.
        pair: Their column of the second text, for tasks on pairs.

    Raises:
        ConfigError: If the values do not fit together.
    """

    copies: int = 0
    share: float = 0.2
    by: Literal["masked_lm", "embeddings"] = "masked_lm"
    model: str | None = None
    candidates: int = 15
    seed: int = 0
    file: str | None = None
    text: str = "text"
    pair: str | None = None

    def __post_init__(self) -> None:
        faults = [
            f"task.augment.{name}={getattr(self, name)}: at least {least} is needed"
            for name, least in (("copies", 0), ("candidates", 1), ("seed", 0))
            if getattr(self, name) < least
        ]
        if not 0 < self.share <= 1:
            faults.append(
                f"task.augment.share={self.share}: a share of the words, above 0, up to 1"
            )
        if self.by not in ("masked_lm", "embeddings"):
            faults.append(f"task.augment.by={self.by}: take masked_lm or embeddings")
        if faults:
            raise ConfigError(faults)

    @property
    def wanted(self) -> bool:
        """Whether there are to be more rows."""
        return self.copies > 0 or self.file is not None

    def rows(self, paired: bool) -> list[tuple[str, str | None]]:
        """Return the rows of the file; none where there is no file.

        Args:
            paired: Whether the task has two texts.

        Raises:
            UsageError: If the file cannot be used.
        """
        if self.file is None:
            return []
        if paired != (self.pair is not None):
            wanted = "two texts: name the second one's column" if paired else "one text: leave out"
            raise ConfigError(f"task.augment.pair={self.pair}: the task has {wanted}")
        path = Path(self.file)
        table = read_table(path)
        sides = [column(table, self.text, "task.augment.text", path)]
        if self.pair is not None:
            sides.append(column(table, self.pair, "task.augment.pair", path))
        for at, row in enumerate(zip(*sides, strict=True)):
            if not all(isinstance(text, str) and text.strip() for text in row):
                raise DataError(f"{path}: row {at} (counted from 0) has no text; leave it out")
        return [(str(row[0]), str(row[1]) if paired else None) for row in zip(*sides, strict=True)]


@dataclass
class Copy:
    """A row of which some words are to be replaced.

    Attributes:
        row: Id of the row.
        number: Which of its copies.
        texts: Its one or two texts.
        inputs: Its tokens, and which of the texts each belongs to where models are told.
        places: Tokens that are replaced.
        spans: Of each place: which text, and its first and last character.
        draws: Of each place: which of the candidates, from 0 to 1.
    """

    row: int
    number: int
    texts: list[str]
    inputs: dict[str, npt.NDArray[np.int64]]
    places: npt.NDArray[np.int64]
    spans: list[tuple[int, int, int]]
    draws: npt.NDArray[np.float64]

    @property
    def there(self) -> npt.NDArray[np.int64]:
        """The tokens that are to be replaced."""
        return self.inputs["input_ids"][self.places]


def to_copy(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    whole: npt.NDArray[np.bool_],
    augment: Augment,
    max_length: int,
) -> Iterator[Copy]:
    """Yield the copies of rows, with the words that are to be replaced.

    Words that are several tokens stay; a row without any other is not copied.

    Args:
        rows: Texts or pairs.
        tokenizer: A fast one.
        whole: Which of its tokens are words.
        augment: How many copies, and which share of the words.
        max_length: Tokens at which rows are cut; what is beyond stays.
    """
    for at in range(len(rows)):
        texts = [rows.text[at]] if rows.pair is None else [rows.text[at], rows.pair[at]]
        encoded = tokenizer(
            *texts, truncation=True, max_length=max_length, return_offsets_mapping=True,
            return_attention_mask=False,
        )  # fmt: skip
        offsets = encoded.pop("offset_mapping")
        inputs = {name: np.asarray(side, dtype=np.int64) for name, side in encoded.items()}
        ids = inputs["input_ids"]
        sides, words = encoded.sequence_ids(), encoded.word_ids()
        known = [pair for pair in zip(sides, words, strict=True) if pair[0] is not None]
        single = [
            place
            for place, pair in enumerate(zip(sides, words, strict=True))
            if pair[0] is not None and known.count(pair) == 1 and whole[ids[place]]
        ]
        if not single:
            continue
        spans = [(int(sides[place]), *offsets[place]) for place in single]
        for number in range(augment.copies):
            random = np.random.default_rng([augment.seed, int(rows.ids[at]), number])
            count = max(1, round(augment.share * len(single)))
            chosen = np.sort(random.choice(len(single), count, replace=False))
            yield Copy(
                int(rows.ids[at]), number, texts, inputs,
                np.asarray(single)[chosen], [spans[each] for each in chosen],
                random.random(count),
            )  # fmt: skip


def with_words(copy: Copy, candidates: Proposals, words: Sequence[str]) -> list[str]:
    """Return the texts of a copy with other words; all between them stays as it is.

    Args:
        copy: Tells where.
        candidates: Tokens that may stand there, `[places, candidates]`.
        words: Of each token, as text.
    """
    texts = list(copy.texts)
    taken = (copy.draws * candidates.shape[1]).astype(int)
    # From behind, so that the places before stay where they are.
    for place in reversed(range(len(copy.places))):
        side, start, stop = copy.spans[place]
        text = texts[side]
        start += len(text[start:stop]) - len(text[start:stop].lstrip())  # bytes' tokens have it
        word = words[candidates[place, taken[place]]]
        texts[side] = text[:start] + word + text[stop:]
    return texts
