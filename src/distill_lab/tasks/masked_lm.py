"""Hidden words from all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import DataError, ModelError, refuse
from distill_lab.tasks.blocks import BlockRows, MaskedRows, Masking
from distill_lab.tasks.cuts import packed
from distill_lab.tasks.language import LanguageTask
from distill_lab.tasks.token_file import TokenFile
from distill_lab.tasks.tokens import padding

_SAMPLE = 10**6  # tokens that are counted at once


class MaskedLM(LanguageTask):
    """Hidden words from all others, drawn anew in each epoch: Devlin et al. 2019.

    Args:
        name: Short name, for tables.
        train: File, folder, or several, of text to train on; or "hub:NAME:CONFIGURATION:SPLIT".
        evaluation: The same of text that is only reported.
        text: Column of the text in files of rows (.jsonl, .parquet) and on the hub.
        lines: Whether the hub's rows are lines of one text, rather than documents.
        mask_share: Share of the tokens that is asked for.
        smoothing: Words are hidden in proportion to their frequency to the power of minus this;
            0.7 in DistilBERT's code (`scripts/token_counts.py`), 0 for alike.
        draws: In so many ways the words of a block are hidden, one epoch after another, and then
            again: their signals can be kept. None hides others in each epoch.
        metrics: "perplexity", "accuracy", the main one first.
        max_length: Tokens of a block, with those around it.
        selection: Share of the training blocks that chooses epoch, T and λ.
        selection_max: Upper bound of these blocks.

    Raises:
        UsageError: If the values do not fit together, or a file is not there.
    """

    kind = "masked_lm"

    def __init__(
        self,
        *,
        name: str,
        train: str | Sequence[str],
        evaluation: str | Sequence[str],
        text: str = "text",
        lines: bool = False,
        mask_share: float = 0.15,
        smoothing: float = 0.0,
        draws: int | None = None,
        metrics: Sequence[str] = ("perplexity", "accuracy"),
        max_length: int = 128,
        selection: float = 0.05,
        selection_max: int = 500,
    ) -> None:
        super().__init__(
            name=name, train=train, evaluation=evaluation, text=text, lines=lines,
            metrics=metrics,
            known=("perplexity", "accuracy"), max_length=max_length, selection=selection,
            selection_max=selection_max,
        )  # fmt: skip
        many = draws is not None and not 1 <= draws <= 10_000
        refuse({
            f"task.mask_share={mask_share}: a share, between 0 and 1": not 0 < mask_share < 1,
            f"task.smoothing={smoothing}: 0 to 10": not 0 <= smoothing <= 10,
            f"task.draws={draws}: 1 to 10,000, or null for others in each epoch": many,
        })  # fmt: skip
        self.draws = draws
        self.mask_share = mask_share
        self.smoothing = smoothing

    def cutting(self) -> Mapping[str, Any]:
        """Return what besides tokeniser and length decides what is asked."""
        found = {"mask_share": self.mask_share, "smoothing": self.smoothing}
        return found if self.draws is None else {**found, "draws": self.draws}

    def blocks(
        self, file: TokenFile, tokenizer: PreTrainedTokenizerBase, whole: bool, train: bool
    ) -> BlockRows:
        """Return blocks with what the tokeniser puts around a text.

        Raises:
            ModelError: If it has no mask.
        """
        if tokenizer.mask_token_id is None:
            raise ModelError(
                f"teacher.model: {type(tokenizer).__name__} has no mask token; take an encoder, or"
                " task=causal_lm"
            )
        frame = _frame(tokenizer)
        cuts = packed(len(file.tokens), self.max_length - sum(map(len, frame)), 8)
        if not len(cuts.starts):
            part = "train" if train else "evaluation"
            raise DataError(f"task.{part}: {len(file.tokens)} tokens are no text to learn from")
        special = set(tokenizer.all_special_ids)
        words = np.asarray([i for i in range(len(tokenizer)) if i not in special])
        weights = smoothed(file, len(tokenizer), self.smoothing) if train else None
        draws = self.draws if train else None
        masking = Masking(
            self.mask_share, tokenizer.mask_token_id, frame, words, weights, draws=draws
        )
        return MaskedRows(
            np.arange(len(cuts.starts)), file, cuts, len(tokenizer),
            padding(tokenizer), False, masking,
        )  # fmt: skip


def _frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the tokens that stand before and behind a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    at = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
    return list(framed[:at]), list(framed[at + len(plain) :])


def smoothed(file: TokenFile, words: int, power: float) -> npt.NDArray[np.float64] | None:
    """Return how likely each word is to be hidden, relative to others; None for alike.

    Sanh et al. 2019 (arXiv 1910.01108) hide rare words more often: `count ** -0.7` in their code.

    Args:
        file: A corpus.
        words: Size of the vocabulary.
        power: 0 for alike.
    """
    if power == 0:
        return None
    counts = np.zeros(words, dtype=np.int64)
    for start in range(0, len(file.tokens), _SAMPLE):
        counts += np.bincount(np.asarray(file.tokens[start : start + _SAMPLE]), minlength=words)
    return np.maximum(counts, 1).astype(np.float64) ** -power
