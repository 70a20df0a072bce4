"""Several objectives at once, each with a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.schedules import Schedule, scheduled
from distill_lab.types import Batch, Fit, Outputs, Term


class Combine(Objective):
    """The weighted sum of objectives; their hard terms become one.

    As FitNets (Romero et al. 2015, arXiv 1412.6550) puts hints beside the labels, and TinyBERT puts
    attention beside hidden states.

    Args:
        parts: Objectives by name, each with its own T and λ.
        weights: Weight of each part, constant, or `[first, last]` to go from one to the other.
        schedule: How weights go: "linear" or "cosine".

    Raises:
        ConfigError: If parts and weights have other names, or a weight is negative.
    """

    scheduled = ()
    all_logits = False  # its parts tell for themselves

    def __init__(
        self,
        *,
        parts: Mapping[str, Objective],
        weights: Mapping[str, Any],  # checked by name below
        schedule: Schedule = "linear",
    ) -> None:
        super().__init__()
        check_weights(parts, weights)
        self.parts = nn.ModuleDict(parts)
        self.weights: dict[str, tuple[float, float]] = {
            name: (float(w), float(w)) if isinstance(w, (int, float)) else (w[0], w[1])
            for name, w in weights.items()
        }
        self.schedule: Schedule = schedule

    def prepare(self, fit: Fit) -> None:
        """Prepare every part."""
        for part in self._parts().values():
            part.prepare(fit)
            self.needs = self.needs | part.needs
        staged = [name for name, part in self._parts().items() if len(part.stages) > 1]
        if staged:
            raise ConfigError(
                f"objective.parts.{staged[0]}: an objective in stages cannot be combined with"
                " others; use it alone, or combine hidden and attention"
            )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the parts' terms, named `part/term`, and one term `hard`."""
        found: dict[str, Term] = {}
        for name, part in self._parts().items():
            part.progress = self.progress
            weight = scheduled(self.schedule, *self.weights[name], self.progress)
            for term_name, term in part(student, teacher, batch).items():
                given = Term(term.total, term.unit, term.weight * weight)
                if term_name == "hard":
                    given.weight += found["hard"].weight if "hard" in found else 0.0
                    found["hard"] = given
                else:
                    found[f"{name}/{term_name}"] = given
        return found

    def _parts(self) -> dict[str, Objective]:
        parts: dict[str, Objective] = dict(self.parts.items())  # type: ignore[arg-type]
        return parts


def check_weights(
    parts: Mapping[str, Objective], weights: Mapping[str, float | Sequence[float]]
) -> None:
    """Refuse weights that do not belong to the parts.

    Raises:
        ConfigError: If names differ, or a weight is negative or neither one number nor two.
    """
    if not parts or set(parts) != set(weights):
        raise ConfigError(
            f"objective.weights: has {', '.join(sorted(weights)) or 'none'}, objective.parts has"
            f" {', '.join(sorted(parts)) or 'none'}; every part needs a weight"
        )
    for name, weight in weights.items():
        numbers = [weight, weight] if isinstance(weight, (int, float)) else list(weight)
        told = all(isinstance(number, (int, float)) for number in numbers)
        if len(numbers) != 2 or not told or not all(0 <= number < math.inf for number in numbers):
            raise ConfigError(
                f"objective.weights.{name}={weight}: a number, or [first, last], 0 or more"
            )
