"""What an objective is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

from distill_lab.errors import ConfigError, noted
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Term

# By far: long before them one class has everything, or all have the same.
_COLDEST, _HOTTEST = 0.01, 1e6


class Objective(nn.Module, ABC):
    """Named terms of a loss from the answers of student and teacher.

    Trainable projections are submodules: they are trained, saved and resumed with the student.
    `temperature` and `lam` are plain attributes that the distillation callback sets each step.

    Args:
        temperature: T, softens both models' probabilities; above 0.
        lam: λ, the weight of the soft loss against the hard loss; 0 to 1.

    Raises:
        ConfigError: If T or λ is out of its range.
    """

    needs = Needs()
    """What it asks of both models besides logits; settled in `prepare`."""
    scheduled: tuple[str, ...] = ("temperature", "lam")
    """Which of the two the objective has; the callback sets and logs no other."""
    all_logits: bool = True
    """Whether it needs all of the teacher's logits; if not, `Outputs.top` may stand for them."""
    inside: bool = False
    """Whether it looks at tokens: hidden states or attention."""
    needs_labels: bool = False
    """Whether the soft loss, too, means nothing for a row without a label."""
    stages: tuple[float, ...] = (1.0,)
    """Shares of the training steps; the learning rate rises and falls in each anew."""
    stage: int = 0
    """Which stage it is in; set before each step."""
    progress: float = 0.0
    """How far the training is, 0 at its first step to 1 at its last; set before each step."""

    def __init__(self, *, temperature: float = 1.0, lam: float = 0.5) -> None:
        super().__init__()
        faults = list[str]()
        with noted(faults):
            check_temperature(temperature)
        with noted(faults):
            check_lam(lam)
        if faults:
            raise ConfigError(faults)
        self.temperature = temperature
        self.lam = lam

    def with_parts(self) -> list[Objective]:
        """Return this objective and those it is made of."""
        return [part for part in self.modules() if isinstance(part, Objective)]

    def prepare(self, fit: Fit) -> None:
        """Learn about the two models before training; build projections, refuse misfits.

        Raises:
            ConfigError: If the objective means nothing for the problem or the models.
        """

    def mixed(
        self, student: Outputs, batch: Batch, soft: Tensor, scale: float = 1.0
    ) -> dict[str, Term]:
        """Return the usual two terms: `(1 - lam) * hard + lam * scale * soft`.

        Args:
            student: Gives the logits for the hard loss.
            batch: Gives the labels.
            soft: Sum over the rows of what the teacher teaches.
            scale: What belongs to the soft loss besides λ, for example T².
        """
        hard = hard_loss(student.logits, batch.labels)
        return {
            "hard": Term(hard, "answers", 1 - self.lam),
            "soft": Term(soft, "answers", self.lam * scale),
        }

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms by name, unweighted, with their weights."""


def check_temperature(value: float, key: str = "objective.temperature") -> None:
    """Refuse a temperature that leaves one class alone, or whose square is no weight."""
    if not _COLDEST <= value <= _HOTTEST:
        raise ConfigError(f"{key}={value}: a temperature, from {_COLDEST:g} to {_HOTTEST:g}")


def check_lam(value: float, key: str = "objective.lam") -> None:
    """Refuse a weight outside 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(
            f"{key}={value}: lam weighs the soft loss against the hard loss, from 0 (labels"
            " only) to 1 (teacher only)"
        )


def check_weight(value: float, key: str) -> None:
    """Refuse a weight that is negative or not finite."""
    if not 0 <= value < math.inf:
        raise ConfigError(f"{key}={value}: a weight, 0 or more")


def needs_classes(fit: Fit, least: int, name: str, reason: str) -> None:
    """Refuse an objective that means nothing for the number of classes.

    Args:
        fit: Tells the problem.
        least: Classes that it takes.
        name: Name of the objective.
        reason: Why, as a clause.

    Raises:
        ConfigError: For regression, or for fewer classes.
    """
    if fit.problem.kind == "regression":
        raise ConfigError(
            f"objective={name}: it compares probabilities of classes, which a regression has not;"
            " use objective=hinton or mse_logits"
        )
    if not fit.problem.has_labels:  # as many classes as a row has tokens, or a language words
        return
    if fit.problem.num_labels < least:
        raise ConfigError(
            f"objective={name}: the task has {fit.problem.num_labels} classes, at least {least} are"
            f" needed, because {reason}; use objective=hinton"
        )


def needs_fixed_classes(fit: Fit, name: str, reason: str) -> None:
    """Refuse an objective that has no meaning where each row has classes of its own.

    Args:
        fit: Tells the problem.
        name: Name of the objective.
        reason: Why, as a clause.

    Raises:
        ConfigError: For answers that are places in a text.
    """
    if fit.problem.kind == "spans":
        raise ConfigError(
            f"objective={name}: in question answering the classes are the tokens of a row, and"
            f" {reason}; use objective=hinton"
        )
