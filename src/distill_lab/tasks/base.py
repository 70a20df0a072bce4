"""What every text task shares: rows in, tokens and metrics out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, DataError
from distill_lab.store import Store, digest
from distill_lab.tasks.metrics import METRICS, compute
from distill_lab.tasks.rows import Rows, Splits, carve, spread
from distill_lab.tasks.stored import stored_rows
from distill_lab.tasks.tokens import TokenRows, tokenizer_fingerprint
from distill_lab.types import Problem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """A task's splits as tokens, with the tokeniser that made them.

    Attributes:
        train: What is trained on.
        selection: Chooses epoch, T and λ.
        evaluation: Sets that are only reported, the main one first.
        tokenizer: What turned the rows into tokens.
        fingerprints: Of the rows of each split and of the tokeniser.
        max_length: Tokens at which rows are cut.
        for_teacher: The same rows as the teacher reads them, where its tokeniser is another.
    """

    train: TokenRows
    selection: TokenRows
    evaluation: Mapping[str, TokenRows]
    tokenizer: PreTrainedTokenizerBase
    fingerprints: Mapping[str, str]
    max_length: int
    for_teacher: Data | None = None

    def beside(self, for_teacher: Data) -> Data:
        """Return these rows with what the teacher reads of them."""
        return replace(self, train=self.train.beside(for_teacher.train), for_teacher=for_teacher)

    def texts(self, count: int = 32) -> list[tuple[str]]:
        """Return some training rows as text again, as far as tokens tell."""
        rows, ids = self.train, self.train.columns["input_ids"]
        cuts = [slice(*rows.offsets[at : at + 2]) for at in spread(len(rows), count)]
        told = self.tokenizer.batch_decode(
            [ids[c].tolist() for c in cuts], skip_special_tokens=True
        )
        return [(text,) for text in told]

    @property
    def fingerprint(self) -> str:
        """16 digits that change with any row, the tokeniser or the length."""
        return digest([dict(self.fingerprints), self.max_length])

    def prints(self) -> dict[str, str]:
        """Return all fingerprints, that of the teacher's tokeniser too where it is another."""
        if self.for_teacher is None:
            return dict(self.fingerprints)
        return {
            **self.fingerprints,
            "teacher_tokenizer": self.for_teacher.fingerprints["tokenizer"],
        }

    def sizes(self) -> dict[str, int]:
        """Return the number of rows of every part."""
        parts = {"train": self.train, "selection": self.selection, **self.evaluation}
        return {name: len(rows) for name, rows in parts.items()}


class TextTask(ABC):
    """Classification or regression of texts or pairs of texts.

    Args:
        name: Short name, for tables.
        metrics: Names of the metrics (see `tasks.metrics`), the main one first.
        max_length: Tokens at which rows are cut.
        selection: Share of the training rows that is held back to choose epoch, T and λ.
        selection_max: Upper bound of the rows held back.

    Raises:
        ConfigError: If a metric is unknown or a number is out of its range.
    """

    problem: Problem

    def __init__(
        self,
        *,
        name: str,
        metrics: Sequence[str],
        max_length: int = 128,
        selection: float = 0.1,
        selection_max: int = 2000,
    ) -> None:
        unknown = [m for m in metrics if m not in METRICS]
        if unknown or not metrics:
            raise ConfigError(
                f"task.metrics={list(metrics)}: choose at least one of {', '.join(METRICS)}"
            )
        if not 0 < selection < 1:
            raise ConfigError(
                f"task.selection={selection}: a share of the training rows, between 0 and 1"
            )
        if max_length < 8:
            raise ConfigError(f"task.max_length={max_length}: at least 8 tokens are needed")
        self.name = name
        self.metrics = tuple(metrics)
        self.max_length = max_length
        self.selection = selection
        self.selection_max = selection_max

    @abstractmethod
    def read(self) -> tuple[Rows, Mapping[str, Rows]]:
        """Return the training rows and the evaluation sets; also settles `problem`."""

    def load(self) -> Splits:
        """Read the rows and carve the selection split from train.

        Raises:
            DataError: If a file cannot be used as it is.
        """
        train, evaluation = self.read()
        if self.problem.kind == "classification" and len(set(train.labels.tolist())) < 2:
            raise DataError(f"task {self.name}: all training rows have one label; nothing to learn")
        rest, selection = carve(train, self.selection, self.selection_max)
        return Splits(rest, selection, evaluation)

    def encode(self, splits: Splits, tokenizer: PreTrainedTokenizerBase, store: Store) -> Data:
        """Turn rows into tokens, or find them in the store.

        Args:
            splits: From `load`.
            tokenizer: The teacher's, or the student's own.
            store: Keeps the tokens.
        """
        own = tokenizer_fingerprint(tokenizer)
        encoded = stored_rows(splits, tokenizer, own, self.max_length, self.name, store)
        full = (encoded["train"].lengths >= self.max_length).mean()
        if full > 0.01:
            log.info("task: %.0f %% of the rows are cut at %d tokens", 100 * full, self.max_length)
        return Data(
            encoded["train"],
            encoded["selection"],
            {name: encoded[name] for name in splits.evaluation},
            tokenizer,
            {**splits.fingerprints, "tokenizer": own},
            self.max_length,
        )

    def score(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Compute the task's metrics.

        Args:
            logits: `[rows, labels]`.
            labels: `[rows]`.

        Returns:
            Name to value, the main metric first.
        """
        return compute(self.metrics, self.problem, logits, labels)
