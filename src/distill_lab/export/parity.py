"""Whether an exported student is still the student: both answer the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distill_lab.evaluation import shown
from distill_lab.forward import forward
from distill_lab.serving.served import Served
from distill_lab.tasks import Instruction, Squad
from distill_lab.tasks.batching import scoring_batches
from distill_lab.tasks.model_rows import ModelRows, rows_at_once
from distill_lab.tasks.tokens import TokenRows
from distill_lab.tasks.windows import WindowRows
from distill_lab.types import Batch

_NEVER = -1e8  # logits below stand for padding
_ROUNDING = 1e-9  # of a correlation of numbers with themselves


@dataclass(frozen=True)
class Bounds:
    """How far an exported form may differ from the student.

    Attributes:
        difference: Largest difference of two logits.
        agreement: Smallest share of answers that are the same; of numbers, smallest correlation.
    """

    difference: float
    agreement: float


# Float32 sums in another order; 16-bit weights; 8-bit weights and activations.
BOUNDS = {
    "onnx": Bounds(1e-3, 0.999),
    "onnx-int8": Bounds(2.0, 0.95),
    "int8": Bounds(2.0, 0.95),
    "float32": Bounds(1e-5, 1.0),
    "float16": Bounds(0.05, 0.99),
    "bfloat16": Bounds(0.5, 0.97),
}


@dataclass(frozen=True)
class Parity:
    """How two forms of a student answer the same rows.

    Attributes:
        rows: Which, for people.
        count: Of the rows; windows of a paragraph and blocks of a text are rows.
        largest_difference: Between any two logits.
        mean_difference: Of their absolute values.
        agreement: Share of answers that are the same: labels, texts of spans, words; None for
            numbers.
        correlation: Pearson's, of answers that are numbers; None for others, or if all are equal.
        metric: Name of the main metric; empty where the rows have no labels.
        before: The metric of the student.
        after: That of the exported form.
    """

    rows: str
    count: int
    largest_difference: float
    mean_difference: float
    agreement: float | None
    correlation: float | None = None
    metric: str = ""
    before: float | None = None
    after: float | None = None

    def faults(self, bounds: Bounds) -> list[str]:
        """Return what is over the bounds, in words."""
        found = []
        if not self.largest_difference <= bounds.difference:  # also what is no number
            found.append(
                f"logits differ by up to {self.largest_difference:.3g}, over --max-difference"
                f" {bounds.difference:g}"
            )
        if self.agreement is not None and not self.agreement >= bounds.agreement:
            found.append(
                f"{self.agreement:.2%} of the answers are the same, under --min-agreement"
                f" {bounds.agreement:g}"
            )
        if self.correlation is not None and not self.correlation >= bounds.agreement - _ROUNDING:
            found.append(
                f"answers correlate by {self.correlation:.4f} alone, under --min-agreement"
                f" {bounds.agreement:g}"
            )
        return found


def compared(
    before: Served, after: Served, rows: ModelRows, name: str, labelled: bool, int8: bool = False
) -> Parity:
    """Let both forms of a student answer the same rows.

    Args:
        before: The student.
        after: Its exported form.
        rows: What both answer.
        name: Of the rows, for people.
        labelled: Whether they can be scored.
        int8: Whether the form is int8: a student that was trained for it is held against as it
            rounds, as its scores are, and not as its float weights compute.
    """
    task = before.task
    sides = (before.as_scored() if int8 else before.model, after.model)
    largest, total, numbers, same, asked = 0.0, 0.0, 0, 0, 0
    kept: tuple[list[Tensor], list[Tensor]] = ([], [])
    order = list[int]()
    with torch.inference_mode():
        for at, batch in _batches(before, rows):
            logits = [forward(model, batch).logits for model in sides]
            valid = logits[0] > _NEVER
            apart = (logits[0] - logits[1])[valid].abs()
            largest = _larger(largest, float(apart.max()))
            total, numbers = total + float(apart.double().sum()), numbers + apart.numel()
            same += int((logits[0].argmax(dim=1) == logits[1].argmax(dim=1)).sum())
            asked += len(logits[0])
            order += at
            for model, values, side in zip(sides, logits, kept, strict=True):
                side.append(_kept(before, model, values, batch, rows, labelled))
    places = torch.tensor(order).argsort()
    answers = [torch.cat(side)[places] for side in kept]
    agreement: float | None = same / asked
    correlation: float | None = None
    if isinstance(task, Squad):
        assert isinstance(rows, WindowRows)
        texts = [task.given(each, rows) for each in answers]
        agreement = sum(texts[0][n] == texts[1][n] for n in texts[0]) / len(texts[0])
    elif before.problem.kind == "regression":
        agreement, correlation = None, _correlation(*answers)
    mean = total / max(numbers, 1)
    parity = Parity(name, len(rows), largest, mean, agreement, correlation)
    if not labelled:
        return parity
    before_it, after_it = (task.score(each, rows)[task.metrics[0]] for each in answers)
    return replace(parity, metric=task.metrics[0], before=before_it, after=after_it)


def _correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Pearson's correlation of two models' numbers; None where it has no meaning."""
    pair = torch.stack([one.flatten().double(), other.flatten().double()])
    if pair.shape[1] < 2 or not pair[0].std() > 0:
        return None
    return float(torch.corrcoef(pair)[0, 1])


def _larger(one: float, other: float) -> float:
    """Return the larger of two numbers; what is no number wins."""
    return other if math.isnan(other) or other > one else one


def _batches(served: Served, rows: ModelRows) -> Iterator[tuple[list[int], Batch]]:
    """Yield places of rows with the rows as a batch; of plain texts all words are asked."""
    words = served.problem.words
    plain = bool(words) and type(rows) is TokenRows
    at_once = min(64, max(1, 2**24 // (words * int(rows.lengths.max())))) if plain else 64
    at_once = min(at_once, rows_at_once(rows, words)) if words else at_once
    batches = scoring_batches(rows, at_once)
    sampler = batches.batch_sampler
    assert sampler is not None
    for at, batch in shown(zip(list(sampler), batches, strict=True), len(batches), "parity"):
        if plain:
            inputs = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
            asked = inputs["attention_mask"].bool()
            yield at, Batch(batch.ids, inputs, torch.zeros(int(asked.sum())), asked, "tokens")
        else:
            yield at, batch


def _kept(
    served: Served, model: object, logits: Tensor, batch: Batch, rows: ModelRows, labelled: bool
) -> Tensor:
    """Return what the task scores of an answer."""
    if not labelled and served.problem.words:
        return torch.zeros(len(batch))
    if isinstance(served.task, Instruction):  # what it writes is scored as well
        return served.task.answer(model, batch, rows)  # type: ignore[arg-type]
    return served.task.kept(logits, batch)
