"""Answers to prompts: written by the teacher, learned by the student, checked by what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import DataError, ModelError, refuse
from distill_lab.forward import forward
from distill_lab.generation import Sampling, generate
from distill_lab.store import Store, digest
from distill_lab.tasks.answer_rows import (
    AnswerRows,
    encode_answers,
    own_template,
    pinned,
    prompts_of,
    refuse_long,
)
from distill_lab.tasks.answer_score import answer_scores, answer_table, constant_score
from distill_lab.tasks.base import Task
from distill_lab.tasks.data import Data
from distill_lab.tasks.filters import Keep
from distill_lab.tasks.instructions import Final, Instructions, read_instructions
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.on_policy import written_by_student
from distill_lab.tasks.rows import Ids, Part, Splits, drawn_part
from distill_lab.tasks.token_scores import token_scores
from distill_lab.types import Batch, Problem

_METRICS = ("exact", "perplexity", "accuracy")


class Instruction(Task):
    """Prompts that are answered in words.

    Args:
        name: Short name, for tables.
        train: File of prompts: JSON lines, CSV, TSV or parquet.
        evaluation: The same of prompts that are only reported.
        prompt: Column of the prompt: text, or a list of messages with `role` and `content`.
        answer: Column of a written answer; it may be missing where the teacher writes.
        key: Column of the short answer that is checked; None takes what `final` finds in `answer`.
        final: Regular expression that finds in a text what it comes to; None for the whole text.
        template: Jinja chat template; None takes the tokeniser's own, or the text and a line feed.
        answers: Whose answers the student learns: "teacher" or "data".
        sampling: How the teacher writes, see `Sampling`.
        keep: Which of its answers are learned, see `Keep`.
        on_policy: Share of the steps in which the student answers the prompts itself and learns
            from what the teacher would have said at each word.
        write_batch: Answers that are written at once.
        max_new_tokens: Tokens at which an answer that is written is cut.
        metrics: "exact" (it comes to the key; a model's likeliest words), "perplexity" and
            "accuracy" (of the tokens of the given answer), the main one first.
        max_length: Tokens of a prompt with its answer.
        selection: Share of the training rows that chooses epoch, T and λ.
        selection_max: Upper bound of these rows.

    Raises:
        ConfigError: If the values do not fit together.
    """

    problem = Problem("causal_lm", ())
    rows_class = AnswerRows
    framed = False

    def __init__(
        self,
        *,
        name: str,
        train: str,
        evaluation: str,
        prompt: str = "prompt",
        answer: str = "answer",
        key: str | None = None,
        final: str | None = None,
        template: str | None = None,
        answers: Literal["teacher", "data"] = "teacher",
        sampling: Sampling | None = None,
        keep: Keep | None = None,
        on_policy: float = 0.0,
        write_batch: int = 64,
        max_new_tokens: int = 128,
        metrics: Sequence[str] = _METRICS,
        max_length: int = 512,
        selection: float = 0.1,
        selection_max: int = 200,
    ) -> None:
        super().__init__(
            name=name, metrics=metrics, known=_METRICS, max_length=max_length, selection=selection,
            selection_max=selection_max,
        )  # fmt: skip
        room = (
            f"task.max_new_tokens={max_new_tokens}: it leaves no room for a prompt within"
            f" task.max_length={max_length}"
        )
        share = f"task.on_policy={on_policy}: a share of the steps, from 0 to 1"
        refuse({
            f"task.write_batch={write_batch}: at least 1 is needed": write_batch < 1,
            f"task.max_new_tokens={max_new_tokens}: at least 1 is needed": max_new_tokens < 1,
            room: max_new_tokens >= max_length,
            share: not 0 <= on_policy <= 1,
        })  # fmt: skip
        self.scored_by = ["key"] if "exact" in metrics else []
        self.scored_by += ["answer"] if {"perplexity", "accuracy"} & set(metrics) else []
        self.train = Path(train)
        self.evaluation = Path(evaluation)
        self.columns = (prompt, answer, key)
        self.final = Final(final)
        self.template = template
        self.checks = key is not None or final is not None
        self.writes = answers == "teacher"
        self.sampling = sampling or Sampling()
        self.keep = keep or Keep()
        self.on_policy = on_policy
        self.write_batch = write_batch
        self.max_new_tokens = max_new_tokens

    def read(self) -> tuple[Instructions, Mapping[str, Part]]:
        """Read the files.

        Raises:
            DataError: If a file cannot be used, or a row that is scored lacks what it is scored by.
        """
        train, evaluation = (
            read_instructions(path, *self.columns, self.final)
            for path in (self.train, self.evaluation)
        )
        bare = np.flatnonzero(~evaluation.has(self.scored_by))
        if len(bare):
            raise DataError(
                f"{evaluation.source}: row {evaluation.ids[bare[0]]} (counted from 0) has no"
                f" {' or no '.join(self.scored_by)}, by which task.metrics={list(self.metrics)}"
                " score; fill it, or take other metrics"
            )
        return train, {"evaluation": evaluation}

    def carve(self, train: Part) -> tuple[Part, Part]:
        """Hold back some of the training rows that can be scored."""
        assert isinstance(train, Instructions)
        scorable = np.flatnonzero(train.has(self.scored_by))
        if len(scorable) < 2:
            raise DataError(
                f"{train.source}: {len(scorable)} rows have a {' and a '.join(self.scored_by)}, by"
                f" which task.metrics={list(self.metrics)} choose the epoch; give some, or take"
                " other metrics"
            )
        _, part = drawn_part(len(scorable), self.selection, self.selection_max)
        held_back = scorable[part]
        rest = np.setdiff1d(np.arange(len(train)), held_back)
        return train.take(rest), train.take(held_back)

    def encode(
        self, splits: Splits, tokenizer: PreTrainedTokenizerBase | None, store: Store
    ) -> Data:
        """Turn prompts and answers into tokens, or find them in the store.

        The tokeniser keeps the template, and brings it into the student's folder.

        Raises:
            UsageError: If the tokeniser has no token that ends a text, or a prompt is too long.
        """
        assert tokenizer is not None
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"teacher.model: {type(tokenizer).__name__} has no token that ends a text, so no"
                " answer would; take a model that writes, such as gpt2"
            )
        tokenizer.chat_template = pinned(self.template or own_template(tokenizer))
        data = super().encode(splits, tokenizer, store)
        for rows in (data.train, data.selection, *data.evaluation.values()):
            assert isinstance(rows, AnswerRows)
            refuse_long(rows, self.max_length, self.max_new_tokens)
            rows.by_student = self.on_policy > 0
        self.problem = Problem("causal_lm", (), len(tokenizer))
        prints = {**data.fingerprints, "template": digest(tokenizer.chat_template)}
        return replace(data, problem=self.problem, fingerprints=prints)

    def tokens(self, rows: Part, tokenizer: PreTrainedTokenizerBase) -> AnswerRows:
        """Return prompts and answers as tokens."""
        assert isinstance(rows, Instructions)
        return encode_answers(rows, tokenizer, self.max_length, self.on_policy > 0)

    def scoring(self) -> Mapping[str, Any]:
        """Return what decides how answers are written and checked."""
        pattern = self.final.pattern
        return {
            "metrics": list(self.metrics),
            "max_new_tokens": self.max_new_tokens,
            "final": None if pattern is None else pattern.pattern,
        }

    def tell(self, train: ModelRows) -> None:
        """Say nothing: answers that are cut are told when they are."""

    def answer(self, model: PreTrainedModel, batch: Batch, rows: ModelRows) -> Tensor:
        """Return of each row how the given answer is predicted, and the tokens that are written.

        float64 `[rows, 3 + max_new_tokens]`: sum of the cross-entropies in nats, hits, tokens that
        were asked for; then the written tokens, -1 behind the last.
        """
        assert isinstance(rows, AnswerRows)
        forced = torch.zeros(len(batch), 3, dtype=torch.float64)
        if "answer" in self.scored_by:
            forced = token_scores(forward(model, batch).logits, batch)
        written = torch.full((len(batch), self.max_new_tokens), -1, dtype=torch.float64)
        if "key" in self.scored_by:
            answers = generate(model, rows.tokenizer, prompts_of(batch), self.max_new_tokens)
            for row, tokens in enumerate(answers):
                written[row, : len(tokens)] = torch.from_numpy(tokens).double()
        return torch.cat([forced, written], dim=1)

    def by_student(
        self, model: PreTrainedModel, batch: Batch, rows: ModelRows, step: int
    ) -> Batch | None:
        """Return the batch with answers that the student itself writes, in some of the steps.

        Agarwal et al. 2024 (arXiv 2306.13649), algorithm 1: each step draws whether it does.
        """
        assert isinstance(rows, AnswerRows)
        if np.random.default_rng([self.sampling.seed, step]).random() >= self.on_policy:
            return None
        most, seed = self.max_new_tokens, self.sampling.seed
        return written_by_student(model, batch, rows, most, seed, step)

    def score(self, answers: Tensor, rows: ModelRows, at: Ids | None = None) -> dict[str, float]:
        """Compute the share of right answers, and how well the given ones are predicted."""
        assert isinstance(rows, AnswerRows)
        found = answer_scores(answers, rows, self.final, at)
        return {name: found[name] for name in self.metrics if name in found}

    def chance(self, train: ModelRows, rows: ModelRows) -> float:
        """Return the main metric of the most frequent key, or of the words' frequencies alone."""
        assert isinstance(train, AnswerRows) and isinstance(rows, AnswerRows)
        return constant_score(train, rows, self.metrics[0])

    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return the prompts: `label` (the key), and what each model has written or predicted."""
        assert isinstance(rows, AnswerRows)
        return answer_table(rows, answers, self.final)
