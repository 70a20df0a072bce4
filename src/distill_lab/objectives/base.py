"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from distill_lab.errors import ConfigError
from distill_lab.types import Batch, Fit, Needs, Outputs, Term


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

    def __init__(self, *, temperature: float = 1.0, lam: float = 0.5) -> None:
        super().__init__()
        check_temperature(temperature)
        check_lam(lam)
        self.temperature = temperature
        self.lam = lam

    def prepare(self, fit: Fit) -> None:
        """Learn about the two models before training; build projections, refuse misfits.

        Raises:
            ConfigError: If the objective means nothing for the problem or the models.
        """

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms by name, unweighted, with their weights."""


def check_temperature(value: float, key: str = "objective.temperature") -> None:
    """Refuse a temperature that is not above 0."""
    if not value > 0:
        raise ConfigError(f"{key}={value}: a temperature must be above 0")


def check_lam(value: float, key: str = "objective.lam") -> None:
    """Refuse a weight outside 0 to 1."""
    if not 0 <= value <= 1:
        raise ConfigError(
            f"{key}={value}: lam weighs the soft loss against the hard loss, from 0 (labels"
            " only) to 1 (teacher only)"
        )
