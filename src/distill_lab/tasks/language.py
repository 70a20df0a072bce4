"""Language modelling: the next word from those before it, or hidden words from all others."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import DataError, ModelError
from distill_lab.store import Store, digest
from distill_lab.tasks.base import Task
from distill_lab.tasks.blocks import BlockRows
from distill_lab.tasks.corpus import Text
from distill_lab.tasks.data import Data
from distill_lab.tasks.hub_corpus import find_text
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import Ids, Part, Splits, drawn_part
from distill_lab.tasks.token_file import TokenFile, stored_tokens
from distill_lab.tasks.token_scores import WORST, perplexity, token_scores
from distill_lab.tasks.tokens import tokenizer_fingerprint
from distill_lab.types import Batch, Kind, Problem

_SAMPLE = 10**6  # tokens from which frequencies are taken for the constant answer


class HeldBack(Part):
    """The blocks of a corpus that are held back; which, is known once it is tokens."""

    def __init__(self, corpus: Text, share: float, at_most: int) -> None:
        self.corpus = corpus
        self.share = share
        self.at_most = at_most

    def fingerprint(self) -> str:
        """Return 16 digits that change with the corpus and what is held back of it."""
        return digest([self.corpus.fingerprint(), self.share, self.at_most])

    def about(self) -> str:
        """Return how much there is, for people."""
        return f"{self.share:.0%} of train"


class LanguageTask(Task):
    """What both kinds of language modelling share: corpora, blocks, cross-entropy of each token.

    Args:
        name: Short name, for tables.
        train: File, folder, or several, of text to train on; or "hub:NAME:CONFIGURATION:SPLIT".
        evaluation: The same of text that is only reported.
        text: Column of the text in files of rows (.jsonl, .parquet) and on the hub.
        lines: Whether the hub's rows are lines of one text, rather than documents.
        metrics: Names of the metrics, the main one first.
        known: Names that can be chosen.
        max_length: Tokens of a block.
        selection: Share of the training blocks that is held back to choose epoch, T and λ.
        selection_max: Upper bound of these blocks.

    Raises:
        UsageError: If the values do not fit together, or a file is not there.
    """

    kind: Kind

    def __init__(
        self,
        *,
        name: str,
        train: str | Sequence[str],
        evaluation: str | Sequence[str],
        text: str,
        lines: bool,
        metrics: Sequence[str],
        known: Sequence[str],
        max_length: int,
        selection: float,
        selection_max: int,
    ) -> None:
        super().__init__(
            name=name, metrics=metrics, known=known, max_length=max_length, selection=selection,
            selection_max=selection_max,
        )  # fmt: skip
        self.problem = Problem(self.kind, ())
        self.train = [train] if isinstance(train, str) else list(train)
        self.evaluation = [evaluation] if isinstance(evaluation, str) else list(evaluation)
        self.text = text
        self.lines = lines

    def read(self) -> tuple[Text, Mapping[str, Part]]:
        """Find the files, or the hub's.

        Raises:
            DataError: If one is not there, or is empty.
        """
        train, evaluation = (
            find_text(getattr(self, part), f"task.{part}", self.text, self.lines)
            for part in ("train", "evaluation")
        )
        return train, {"evaluation": evaluation}

    def carve(self, train: Part) -> tuple[Part, Part]:
        """Return the corpus, and the share of its blocks that will be held back."""
        assert isinstance(train, Text)
        return train, HeldBack(train, self.selection, self.selection_max)

    def encode(
        self, splits: Splits, tokenizer: PreTrainedTokenizerBase | None, store: Store
    ) -> Data:
        """Turn corpora into tokens, or find them in the store, and divide them into blocks.

        Raises:
            UsageError: If the tokeniser lacks what is needed, or the text is too short.
        """
        assert tokenizer is not None
        if not tokenizer.is_fast:
            raise ModelError(
                f"teacher.model: {type(tokenizer).__name__} is a slow tokeniser, and corpora are"
                " long; take a model with a fast one"
            )
        own = tokenizer_fingerprint(tokenizer)

        def file(corpus: Part) -> TokenFile:
            assert isinstance(corpus, Text)
            separator = self.separator(tokenizer)
            return stored_tokens(corpus, tokenizer, own, separator, self.name, store)

        whole = self.blocks(file(splits.train), tokenizer, whole=False, train=True)
        try:
            rest, held_back = drawn_part(len(whole), self.selection, self.selection_max)
        except DataError as error:
            raise DataError(
                f"task.train: {len(whole)} blocks of {self.max_length} tokens cannot be divided by"
                f" task.selection={self.selection}; give more text, or shorter blocks"
            ) from error
        self.problem = Problem(self.kind, (), len(tokenizer))
        return Data(
            whole.take(rest),
            whole.take(held_back).as_scored(),
            {
                name: self.blocks(file(corpus), tokenizer, whole=True, train=False)
                for name, corpus in splits.evaluation.items()
            },
            tokenizer,
            {
                **splits.fingerprints,
                # The blocks that are trained on are what the selection split leaves of the corpus.
                "train": splits.selection.fingerprint(),
                "tokenizer": own,
                **{n: self.evaluated(splits.fingerprints[n]) for n in splits.evaluation},
            },
            self.max_length,
            self.problem,
            self.cutting(),
        )

    def evaluated(self, fingerprint: str) -> str:
        """Return a fingerprint of what is asked of a text that is only reported.

        Args:
            fingerprint: The text's.
        """
        return fingerprint

    def separator(self, tokenizer: PreTrainedTokenizerBase) -> int | None:
        """Return the token that ends each document."""
        return None

    @abstractmethod
    def blocks(
        self, file: TokenFile, tokenizer: PreTrainedTokenizerBase, whole: bool, train: bool
    ) -> BlockRows:
        """Return the blocks of a corpus.

        Args:
            file: The corpus as tokens.
            tokenizer: What made them.
            whole: Whether they predict all of it.
            train: Whether they are trained on.
        """

    def kept(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return of each block what `token_scores` does."""
        return token_scores(logits, batch)

    def score(self, answers: Tensor, rows: ModelRows, at: Ids | None = None) -> dict[str, float]:
        """Compute perplexity, bits per byte and accuracy.

        Perplexity is that of the tokens asked for; bits per byte those of all of them over the
        bytes of the text, which other tokenisers can be held against (the first token, before which
        nothing stands, is not asked for; its bytes are counted).
        """
        assert isinstance(rows, BlockRows)
        loss, hits, count = answers.sum(dim=0).tolist()
        found = {"perplexity": perplexity(loss, count), "accuracy": hits / count}
        if not math.isfinite(loss):
            loss = WORST * count
        if rows.bytes and at is None:
            found["bits_per_byte"] = loss / math.log(2) / rows.bytes
        return {name: found[name] for name in self.metrics if name in found}

    def chance(self, train: ModelRows, rows: ModelRows) -> float:
        """Return the main metric of answering with the words' frequencies alone."""
        assert isinstance(train, BlockRows) and isinstance(rows, BlockRows)
        sample = np.asarray(train.file.tokens[:_SAMPLE])
        counts = np.bincount(sample, minlength=train.classes).astype(np.float64) + 1.0
        logits = np.log(counts / counts.sum())
        text = np.asarray(rows.file.tokens[:_SAMPLE])
        loss = -logits[text].mean()
        found = {"perplexity": math.exp(loss), "accuracy": float((text == counts.argmax()).mean())}
        if rows.bytes:
            found["bits_per_byte"] = loss / math.log(2) * len(rows.file.tokens) / rows.bytes
        return found[self.metrics[0]]

    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return the blocks: `tokens` asked for, each model's mean cross-entropy and accuracy."""
        found: dict[str, Any] = {"id": rows.ids, "tokens": rows.answers}
        for name, kept in answers.items():
            loss, hits, count = kept.numpy().T
            found |= {name: loss / count, f"{name}_accuracy": hits / count}
        return found
