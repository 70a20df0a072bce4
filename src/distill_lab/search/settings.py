"""How a search goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.search import named
from distill_lab.search.goals import Goal
from distill_lab.search.space import Space


@dataclass(frozen=True)
class Settings:
    """What can be typed of a search, as `hydra.sweeper.KEY`.

    Attributes:
        goals: What is best.
        n_trials: How many the study shall have, earlier ones counted.
        n_jobs: How many are drawn and run together.
        seeds: A trial is the mean over them; empty, it has the seed of the configuration.
        sampler: Name and arguments.
        pruner: Name and arguments, or None.
        max_failures: How many may fail in a row.
    """

    goals: list[Goal]
    n_trials: int
    n_jobs: int
    seeds: list[int]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any] | None
    max_failures: int

    def check(self, space: Space) -> None:
        """Refuse what makes no sense.

        Raises:
            ConfigError: With a sentence for each fault.
        """
        least = {
            "n_trials": self.n_trials,
            "n_jobs": self.n_jobs,
            "max_failures": self.max_failures,
        }
        faults = [f"hydra.sweeper.{k}={v}: at least 1" for k, v in least.items() if v < 1]
        if len(set(self.seeds)) < len(self.seeds):
            faults.append(f"hydra.sweeper.seeds={self.seeds}: a seed stands twice")
        if self.seeds and space.has("seed"):
            faults.append(
                f"hydra.sweeper.seeds={self.seeds}: and seed= is typed too; leave one out"
            )
        if faults:
            raise ConfigError(faults)
        named.sampler(self.sampler, 0)
        named.pruner(self.pruner)
