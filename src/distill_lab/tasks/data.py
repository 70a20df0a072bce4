"""A task's rows as models read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from distill_lab.store import digest
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import spread
from distill_lab.types import Problem


@dataclass(frozen=True)
class Data:
    """A task's splits as tokens, with the tokeniser that made them.

    Attributes:
        train: What is trained on.
        selection: Chooses epoch, T and λ.
        evaluation: Sets that are only reported, the main one first.
        tokenizer: What turned the rows into tokens; None where they are no text.
        fingerprints: Of the rows of each split and of the tokeniser.
        max_length: Tokens at which rows are cut.
        problem: What is to be learned of them.
        cutting: What besides length and tokeniser has made tokens of them, see `Task.cutting`.
        sizes: What a new model's configuration needs to fit the rows, besides the tokeniser's.
        teacher_train: What the teacher is trained on, where the student's transfer set is another.
        for_teacher: The same rows as the teacher reads them, where its tokeniser is another.
        told: Further counts for the result: what a teacher has written, and what was left out.
    """

    train: ModelRows
    selection: ModelRows
    evaluation: Mapping[str, ModelRows]
    tokenizer: PreTrainedTokenizerBase | None
    fingerprints: Mapping[str, str]
    max_length: int
    problem: Problem
    cutting: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    teacher_train: ModelRows | None = None
    for_teacher: Data | None = None
    told: Mapping[str, int] = field(default_factory=dict)

    def beside(self, for_teacher: Data) -> Data:
        """Return these rows with what the teacher reads of them."""
        return replace(self, train=self.train.beside(for_teacher.train), for_teacher=for_teacher)

    def of_teacher(self) -> Data:
        """Return the rows that a teacher is trained on: of its own, those with labels."""
        rows = (self.train if self.teacher_train is None else self.teacher_train).labelled()
        return self if rows is self.train else replace(self, train=rows)

    def of_baseline(self) -> Data:
        """Return the rows that a student without a teacher is trained on: those with labels."""
        known = self.train.labelled()
        if len(known) == 0:
            return self.of_teacher()
        return self if known is self.train else replace(self, train=known)

    def taught(self) -> dict[str, str]:
        """Return the fingerprints of what decides a teacher's training."""
        train = self.fingerprints.get("teacher", self.fingerprints["train"])
        return {"train": train, **{n: self.fingerprints[n] for n in ("selection", "tokenizer")}}

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokeniser into a model's folder, where there is one."""
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)

    def texts(self, count: int = 32) -> list[tuple[str]]:
        """Return some training rows as text again, as far as tokens tell."""
        if self.tokenizer is None:
            return []
        rows = [self.train.tokens_of(at).tolist() for at in spread(len(self.train), count)]
        told = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [(text,) for text in told]

    @property
    def fingerprint(self) -> str:
        """16 digits that change with any row, the tokeniser or how rows are cut."""
        return digest([dict(self.fingerprints), self.cut()])

    def cut(self) -> dict[str, Any]:
        """Return what besides the tokeniser decides how rows become tokens, for keys."""
        return {"max_length": self.max_length, **self.cutting}

    def prints(self) -> dict[str, str]:
        """Return all fingerprints, that of the teacher's tokeniser too where it is another."""
        if self.for_teacher is None:
            return dict(self.fingerprints)
        return {
            **self.fingerprints,
            "teacher_tokenizer": self.for_teacher.fingerprints["tokenizer"],
        }

    def counts(self) -> dict[str, int]:
        """Return how many things each part asks: rows, or questions."""
        parts = {"train": self.train, "selection": self.selection, **self.evaluation}
        return {**{name: rows.things for name, rows in parts.items()}, **self.told}
