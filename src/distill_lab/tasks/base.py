"""What a task is: rows in, tokens and metrics out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import refuse
from distill_lab.forward import forward
from distill_lab.store import Store
from distill_lab.tasks.data import Data
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import Ids, Part, Rows, Splits, carve
from distill_lab.tasks.stored import stored_rows
from distill_lab.tasks.tokens import TokenRows, encode, tokenizer_fingerprint
from distill_lab.types import Batch, Problem

log = logging.getLogger(__name__)


class Task(ABC):
    """What is to be learned from which rows, and how answers are scored.

    Args:
        name: Short name, for tables.
        metrics: Names of the metrics, the main one first.
        known: Names that can be chosen.
        max_length: Tokens at which rows are cut.
        selection: Share of the training rows that is held back to choose epoch, T and λ.
        selection_max: Upper bound of the rows held back.

    Raises:
        ConfigError: If a metric is unknown or a number is out of its range.
    """

    problem: Problem
    rows_class: type[TokenRows] = TokenRows
    """What its rows are as tokens."""
    shortest: int = 8
    """The smallest `max_length`."""
    framed: bool = True
    """Whether models read a text between special tokens."""
    writes: bool = False
    """Whether the teacher writes what the student learns."""
    unlabelled: bool = False
    """Whether rows without labels are added to what the student learns."""
    on_policy: float = 0.0
    """Share of the steps in which the student learns on what it writes itself."""

    def __init__(
        self,
        *,
        name: str,
        metrics: Sequence[str],
        known: Collection[str],
        max_length: int,
        selection: float,
        selection_max: int,
    ) -> None:
        unknown = [m for m in metrics if m not in known]
        named, least = f"task.metrics={list(metrics)}", self.shortest
        share = f"task.selection={selection}: a share of the training rows, between 0 and 1"
        refuse({
            f"{named}: choose at least one of {', '.join(known)}": bool(unknown) or not metrics,
            share: not 0 < selection < 1,
            f"task.max_length={max_length}: at least {least} tokens are needed": max_length < least,
        })  # fmt: skip
        self.name = name
        self.metrics = tuple(metrics)
        self.max_length = max_length
        self.selection = selection
        self.selection_max = selection_max

    @abstractmethod
    def read(self) -> tuple[Part, Mapping[str, Part]]:
        """Return the training rows and the evaluation sets; also settles `problem`."""

    def load(self) -> Splits:
        """Read the rows and carve the selection split from train.

        Raises:
            DataError: If a file cannot be used as it is.
        """
        train, evaluation = self.read()
        return Splits(*self.carve(train), evaluation)

    def carve(self, train: Part) -> tuple[Part, Part]:
        """Divide training rows into those that are trained on and the selection split."""
        assert isinstance(train, Rows)
        return carve(train, self.selection, self.selection_max)

    def encode(
        self, splits: Splits, tokenizer: PreTrainedTokenizerBase | None, store: Store
    ) -> Data:
        """Turn rows into tokens, or find them in the store.

        Args:
            splits: From `load`.
            tokenizer: The teacher's, or the student's own; None where rows are no text.
            store: Keeps the tokens.

        Raises:
            UsageError: If the tokeniser cannot be used.
        """
        assert tokenizer is not None
        own = tokenizer_fingerprint(tokenizer)
        key = {"tokenizer": own, "max_length": self.max_length, **self.cutting()}
        about = f"{self.name}, {self.max_length} tokens"
        encoded = stored_rows(
            splits,
            lambda rows: self.tokens(rows, tokenizer),
            lambda rows, arrays: self.rows_class.restored(rows, arrays, tokenizer),
            key, about, store,
        )  # fmt: skip
        self.tell(encoded["train"])
        return Data(
            encoded["train"],
            encoded["selection"],
            {name: encoded[name] for name in splits.evaluation},
            tokenizer,
            {**splits.fingerprints, "tokenizer": own},
            self.max_length,
            self.problem,
            self.cutting(),
            teacher_train=encoded.get("teacher"),
        )

    def tokens(self, rows: Part, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        """Return the rows of one part as tokens."""
        assert isinstance(rows, Rows)
        return encode(rows, tokenizer, self.max_length)

    def cutting(self) -> Mapping[str, Any]:
        """Return what besides tokeniser and length decides how rows become tokens."""
        return {}

    def scoring(self) -> Mapping[str, Any]:
        """Return what besides the main metric decides what answers are kept and how they score."""
        return {}

    def tell(self, train: ModelRows) -> None:
        """Say what is worth knowing of the training rows' lengths."""
        full = (train.lengths >= self.max_length).mean()
        if full > 0.01:
            log.info("task: %.0f %% of the rows are cut at %d tokens", 100 * full, self.max_length)

    def answer(self, model: PreTrainedModel, batch: Batch, rows: ModelRows) -> Tensor:
        """Return what the score is computed from, of a model's answer to a batch, `[rows, ...]`.

        Args:
            model: In evaluation mode.
            batch: Some of the rows.
            rows: All of them.
        """
        return self.kept(forward(model, batch).logits, batch)

    def kept(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return what of a batch's logits the score is computed from, `[rows, ...]`."""
        return logits

    def by_student(
        self, model: PreTrainedModel, batch: Batch, rows: ModelRows, step: int
    ) -> Batch | None:
        """Return a batch with answers of the student's own; None where those given are learned."""
        return None

    @abstractmethod
    def score(self, answers: Tensor, rows: ModelRows, at: Ids | None = None) -> dict[str, float]:
        """Compute the metrics.

        Args:
            answers: What was kept of each row's logits, `[rows, ...]`.
            rows: The rows that are answered.
            at: Which of them, in the order of the answers; None for all in their order.

        Returns:
            Name to value, the main metric first.
        """

    @property
    def settles(self) -> bool:
        """Whether the selection split settles something besides epoch, T and λ."""
        return False

    def settled_scores(
        self, answers: Tensor, rows: ModelRows, of_selection: Tensor, selection: ModelRows
    ) -> dict[str, float]:
        """Return further metrics, for which something is settled on the selection split.

        Args:
            answers: What was kept of each row's logits.
            rows: The rows that are answered.
            of_selection: The same for the selection split.
            selection: Its rows.
        """
        return {}

    @abstractmethod
    def chance(self, train: ModelRows, rows: ModelRows) -> float:
        """Return the main metric of the best constant answer: a model that has learned nothing.

        Args:
            train: Tells that answer.
            rows: What is scored.
        """

    @abstractmethod
    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return columns with one line for each thing that is asked: `id`, label, and answers.

        Args:
            rows: The rows that are answered.
            answers: What was kept of each model's logits, by the model's name.
        """
