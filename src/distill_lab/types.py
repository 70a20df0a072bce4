"""The vocabulary of all rooms: what a task asks, what a batch holds, what a model answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from transformers import PretrainedConfig

from distill_lab.devices import onto
from distill_lab.top_logits import TopLogits

Kind = Literal["classification", "regression", "spans", "causal_lm", "masked_lm"]
Form = Literal["rows", "spans", "tokens"]


@dataclass(frozen=True)
class Problem:
    """What is to be learned.

    Attributes:
        kind: "classification" (one label of several), "regression" (one number), "spans" (the
            tokens of a text at which an answer begins and ends), "causal_lm" (the next word) or
            "masked_lm" (hidden words).
        labels: Label names in the order of their ids; a single name for regression; "start" and
            "end" for spans; none for words.
        words: Size of the vocabulary where words are predicted.
        reads: What a row is.
    """

    kind: Kind
    labels: tuple[str, ...]
    words: int = 0
    reads: Literal["text", "images"] = "text"

    @property
    def num_labels(self) -> int:
        """Numbers that a head gives for a row, or for each of its tokens."""
        return self.words or len(self.labels)

    @property
    def has_labels(self) -> bool:
        """Whether rows have labels with names."""
        return self.kind in ("classification", "regression")


Unit = Literal["answers", "rows", "tokens", "token_pairs", "row_pairs", "batch"]
"""What a term of a loss is a mean over; padding is never counted.

An answer is what has logits and a label of its own: a row, each end of a span, or a word.
"""


@dataclass
class Batch:
    """One batch of rows, padded to its longest.

    Attributes:
        ids: Stable row ids, int64 `[batch]`, always on the CPU: they find rows in files.
        inputs: What the models are called with, each `[batch, length]`.
        labels: int64 class ids or float32 targets, `[answers]`; those of a row follow each other.
        asked: Which tokens are asked, bool `[batch, length]`: where an answer may begin or end, or
            where a word is to be predicted; None where rows are answered as a whole.
        form: What an answer belongs to: a row, a row's two ends, or a token that is asked.
        teacher_inputs: What a teacher with another tokeniser is called with, of its own length.
        per_step: Mean units of the batches of an optimizer step; empty where a step is one batch.
    """

    ids: Tensor
    inputs: dict[str, Tensor]
    labels: Tensor
    asked: Tensor | None = None
    form: Form = "rows"
    teacher_inputs: dict[str, Tensor] = field(default_factory=dict)
    per_step: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mask(self) -> Tensor:
        """1 for tokens, 0 for padding, `[batch, length]`; what is no text is one token."""
        if "attention_mask" in self.inputs:
            return self.inputs["attention_mask"]
        return torch.ones(len(self), 1, dtype=torch.int64, device=self.labels.device)

    def to(self, device: torch.device) -> Batch:
        """Return the batch with what models compute with on a device."""
        return self._with(lambda values: onto(values, device))

    def pin_memory(self) -> Batch:
        """Return the batch where a GPU fetches it; torch's DataLoader asks for this."""
        return self._with(Tensor.pin_memory)

    def _with(self, put: Callable[[Tensor], Tensor]) -> Batch:
        inputs = {name: put(values) for name, values in self.inputs.items()}
        teacher = {name: put(values) for name, values in self.teacher_inputs.items()}
        asked, labels = None if self.asked is None else put(self.asked), put(self.labels)
        return Batch(self.ids, inputs, labels, asked, self.form, teacher, self.per_step)

    def for_teacher(self) -> Batch:
        """Return the rows as the teacher reads them."""
        return replace(self, inputs=self.teacher_inputs) if self.teacher_inputs else self

    def count(self, unit: Unit) -> int:
        """Return how many units the batch has."""
        if unit == "answers":
            return len(self.labels)
        if unit == "rows":
            return len(self)
        if unit == "row_pairs":
            return len(self) * (len(self) - 1)
        if unit == "batch":
            return 1
        lengths = self.mask.sum(dim=1)
        return int((lengths if unit == "tokens" else lengths.square()).sum())


@dataclass(frozen=True)
class Wanted:
    """What one model is to give besides its logits.

    Attributes:
        hidden_states: Which hidden states: 0 the embeddings, i the output of layer i.
        attention: Whose queries, keys and values: i is layer i, counted from 1.
    """

    hidden_states: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()

    def __or__(self, other: Wanted) -> Wanted:
        """Return what either wants."""
        return Wanted(
            tuple(sorted({*self.hidden_states, *other.hidden_states})),
            tuple(sorted({*self.attention, *other.attention})),
        )


@dataclass(frozen=True)
class Needs:
    """What an objective asks of both models; `run.py` switches on nothing else."""

    student: Wanted = Wanted()
    teacher: Wanted = Wanted()
    signals: bool = field(default=True, kw_only=True)
    """Whether the teacher is asked at all; what it has written may be enough."""

    def __or__(self, other: Needs) -> Needs:
        """Return what either needs."""
        sides = self.student | other.student, self.teacher | other.teacher
        return Needs(*sides, signals=self.signals or other.signals)


@dataclass(frozen=True)
class Attention:
    """What one layer's attention is computed from, free of dropout.

    Attributes:
        queries: `[batch, heads, length, width]`, with rotary positions where the model has them.
        keys: The same shape; heads that share keys have copies.
        values: The same shape.
        scale: What the products of queries and keys are multiplied by, usually `width ** -0.5`.
        allowed: Which keys a query sees, bool, broadcastable to `[batch, heads, length, length]`;
            None for all.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    scale: float
    allowed: Tensor | None = None

    @property
    def scores(self) -> Tensor:
        """Scaled products before mask and softmax, float32 `[batch, heads, length, length]`."""
        return (self.queries.float() * self.scale) @ self.keys.float().transpose(-1, -2)


@dataclass
class Outputs:
    """What a model gives for a batch; the same for a student and for a teacher's signals.

    Attributes:
        logits: float32 `[answers, classes]`, before any temperature; `[answers, 0]` where only
            `top` is kept. The classes of a span's ends are the tokens of its row.
        hidden_states: Those that are wanted, by number, `[batch, length, width]`; a student's in
            float32.
        attention: That of the wanted layers, by number.
        top: A teacher's largest logits, in place of all.
    """

    logits: Tensor
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attention: Mapping[int, Attention] = field(default_factory=dict)
    top: TopLogits | None = None


@dataclass
class Term:
    """One named part of a loss, unweighted.

    Attributes:
        total: Sum over the valid units, a scalar with a gradient path.
        unit: What it is a sum over.
        weight: What the mean is multiplied by in the loss, for example `lam * T**2`.
    """

    total: Tensor
    unit: Unit
    weight: float

    def mean(self, batch: Batch) -> Tensor:
        """Return the mean over the batch's units; 0 with a gradient path when it has none."""
        return self.total / max(batch.count(self.unit), 1)

    def part(self, batch: Batch) -> Tensor:
        """Return the term's part of the loss.

        Normalised by the units of the whole optimizer step, so that batches of unequal size weigh
        as their units do when gradients are accumulated or averaged over devices.
        """
        step = batch.per_step
        units = step[self.unit] if self.unit in step else batch.count(self.unit)
        return self.weight * (self.total / (units or 1))


@dataclass(frozen=True)
class Fit:
    """What an objective is told of the two models before training.

    Attributes:
        problem: The task's problem.
        student: Configuration of the student.
        teacher: Configuration of the teacher.
    """

    problem: Problem
    student: PretrainedConfig
    teacher: PretrainedConfig


class TeacherSource(Protocol):
    """A source of the teacher's signals; a module cannot tell a live network from stored rows."""

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Return the teacher's outputs for the rows of a batch, without a gradient."""
        ...
