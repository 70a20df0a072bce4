"""What a published loss is held against: cases, our losses, the gradient and its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.objectives.hinton import soft_loss

TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
TOLERANCE = 1e-5
IGNORED = -100


@dataclass(frozen=True)
class Case:
    """Logits of both models and labels; a label of -100 marks padding.

    Attributes:
        name: As the table shows it.
        student: `[..., classes]`.
        teacher: The same shape.
        labels: Class ids, one for each unit.
    """

    name: str
    student: Tensor
    teacher: Tensor
    labels: Tensor

    @property
    def mask(self) -> Tensor:
        """True for the units that count."""
        return self.labels != IGNORED

    @property
    def units(self) -> int:
        """How many units count."""
        return int(self.mask.sum())

    @property
    def classes(self) -> int:
        """Classes, or words of the vocabulary."""
        return self.student.shape[-1]


Loss = Callable[[Case, Tensor, float], Tensor]
"""From the case, the student's logits and T to a scalar."""


def rows(classes: int = 3, count: int = 64) -> Case:
    """Return a classification: random logits of both models, every row labelled."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = 2 * torch.randn(2, count, classes, generator=draw)
    labels = torch.randint(classes, (count,), generator=draw)
    return Case(f"rows [{count},{classes}]", student, teacher, labels)


def tokens(lengths: tuple[int, ...] = (6, 5, 3, 2), words: int = 11) -> Case:
    """Return a language model's batch: sequences of unlike lengths, padded at the end."""
    draw = torch.Generator().manual_seed(0)
    shape = len(lengths), max(lengths)
    student, teacher = 2 * torch.randn(2, *shape, words, generator=draw)
    pads = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    labels = torch.randint(words, shape, generator=draw).masked_fill(pads, IGNORED)
    name = f"tokens [{shape[0]},{shape[1]},{words}], {int(pads.sum())} pads"
    return Case(name, student, teacher, labels)


def shifted(case: Case, student: Tensor) -> tuple[Case, Tensor]:
    """Return what a causal model is asked: the logits of a token for the label of the next."""
    moved = Case(case.name, case.student[:, :-1], case.teacher[:, :-1], case.labels[:, 1:])
    return moved, student[:, :-1]


def mean_of(case: Case, student: Tensor, divergence: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return our mean: the sum over the units that count, divided by their number."""
    return divergence(student[case.mask], case.teacher[case.mask]) / case.units


def hinton(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return our soft loss as it is trained on: T² times the mean divergence."""
    kl = mean_of(case, student, lambda s, t: soft_loss(s, t, temperature))
    return kl * temperature**2


def hinton_with_pads(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return the same with the padding counted as if it were text."""
    flat = student.flatten(0, -2), case.teacher.flatten(0, -2)
    return soft_loss(*flat, temperature) * temperature**2 / len(flat[0])


def cross_entropy(case: Case, student: Tensor) -> Tensor:
    """Return our hard loss, mean over the units that count."""
    return F.cross_entropy(student[case.mask], case.labels[case.mask])


def times(loss: Loss, factor: Callable[[Case, float], float]) -> Loss:
    """Return a loss that is `factor(case, T)` times another."""
    return lambda case, student, temperature: (
        factor(case, temperature) * loss(case, student, temperature)
    )


def gradient(loss: Loss, case: Case, temperature: float) -> Tensor:
    """Return the gradient to the student's logits, in float64."""
    student = case.student.clone().requires_grad_()
    loss(case, student, temperature).backward()
    assert student.grad is not None
    return student.grad.double()


@dataclass(frozen=True)
class Row:
    """One published loss, and what is claimed of it.

    Attributes:
        source: The distribution that it is called from, or the file it is restated from.
        function: Its name there, with the arguments that matter.
        case: What it is given.
        theirs: The published loss.
        ours: The loss of ours that it is held against.
        cause: Why they differ, in words; "the same" where they agree.
        explained: The cause as a loss: what theirs must be if the cause is the whole of it.
    """

    source: str
    function: str
    case: Case
    theirs: Loss
    ours: Loss
    cause: str
    explained: Loss


@dataclass(frozen=True)
class Measured:
    """A row at each of the temperatures.

    Attributes:
        row: What was measured.
        ratios: |gradient of theirs| / |gradient of ours|.
        cosines: Of the two gradients.
        errors: |theirs - explained| / |explained|, of the gradients.
    """

    row: Row
    ratios: list[float]
    cosines: list[float]
    errors: list[float]

    @property
    def holds(self) -> bool:
        """Whether the stated cause is the whole cause."""
        return max(self.errors) <= TOLERANCE


def measure(row: Row) -> Measured:
    """Hold a published loss against ours, and against what its cause predicts."""
    found: list[tuple[float, float, float]] = []
    for temperature in TEMPERATURES:
        theirs, ours, explained = (
            gradient(loss, row.case, temperature) for loss in (row.theirs, row.ours, row.explained)
        )
        ratio = theirs.norm() / ours.norm()
        cosine = (theirs * ours).sum() / (theirs.norm() * ours.norm())
        error = (theirs - explained).norm() / explained.norm()
        found.append((ratio.item(), cosine.item(), error.item()))
    ratios, cosines, errors = (list(column) for column in zip(*found, strict=True))
    return Measured(row, ratios, cosines, errors)
