"""The next word from those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, DataError
from distill_lab.store import digest
from distill_lab.tasks.blocks import BlockRows, CausalRows
from distill_lab.tasks.cuts import packed, strided
from distill_lab.tasks.language import LanguageTask
from distill_lab.tasks.token_file import TokenFile
from distill_lab.tasks.tokens import padding


class CausalLM(LanguageTask):
    """The next word from those before it, over packed blocks.

    Args:
        name: Short name, for tables.
        train: File, folder, or several, of text to train on; or "hub:NAME:CONFIGURATION:SPLIT".
        evaluation: The same of text that is only reported.
        text: Column of the text in files of rows (.jsonl, .parquet) and on the hub.
        lines: Whether the hub's rows are lines of one text, rather than documents.
        stride: Tokens by which the windows of the evaluation are apart, see `cuts.strided`; None
            lets them overlap by one token, so that each token is predicted once.
        metrics: "perplexity", "bits_per_byte", "accuracy", the main one first.
        max_length: Tokens of a block.
        selection: Share of the training blocks that chooses epoch, T and λ.
        selection_max: Upper bound of these blocks.

    Raises:
        UsageError: If the values do not fit together, or a file is not there.
    """

    kind = "causal_lm"
    framed = False

    def __init__(
        self,
        *,
        name: str,
        train: str | Sequence[str],
        evaluation: str | Sequence[str],
        text: str = "text",
        lines: bool = False,
        stride: int | None = None,
        metrics: Sequence[str] = ("perplexity", "bits_per_byte", "accuracy"),
        max_length: int = 512,
        selection: float = 0.05,
        selection_max: int = 500,
    ) -> None:
        super().__init__(
            name=name, train=train, evaluation=evaluation, text=text, lines=lines,
            metrics=metrics,
            known=("perplexity", "bits_per_byte", "accuracy"), max_length=max_length,
            selection=selection, selection_max=selection_max,
        )  # fmt: skip
        if metrics[0] == "bits_per_byte":
            raise ConfigError(
                f"task.metrics={list(metrics)}: bits per byte are those of a whole text, so the"
                " selection split, which is a part, has none; put perplexity first"
            )
        if stride is not None and not 1 <= stride < max_length:
            raise ConfigError(
                f"task.stride={stride}: from 1 to below task.max_length={max_length}, so that what"
                " stands at a window's beginning is predicted by the one before"
            )
        self.stride = stride or max_length - 1

    def evaluated(self, fingerprint: str) -> str:
        """Return a fingerprint of the evaluation's windows."""
        return digest([fingerprint, self.stride])

    def separator(self, tokenizer: PreTrainedTokenizerBase) -> int | None:
        """Return the end-of-text token, which documents of a file of rows end with."""
        end = tokenizer.eos_token_id
        return end if isinstance(end, int) else None

    def blocks(
        self, file: TokenFile, tokenizer: PreTrainedTokenizerBase, whole: bool, train: bool
    ) -> BlockRows:
        """Return blocks one after another, or windows for the evaluation."""
        count, part = len(file.tokens), "train" if train else "evaluation"
        if count < 2:
            raise DataError(f"task.{part}: one token is not enough to predict the next")
        cuts = packed(count, self.max_length, 2) if train else strided(
            count, self.max_length, self.stride
        )  # fmt: skip
        return CausalRows(
            np.arange(len(cuts.starts)), file, cuts, len(tokenizer),
            padding(tokenizer), whole,
        )  # fmt: skip
