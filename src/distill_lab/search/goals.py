"""What a search is for: numbers of `result.json`, and whether more or less of them is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from distill_lab.better import sign
from distill_lab.errors import ConfigError, UsageError, did_you_mean
from distill_lab.results.tables import millions, spread

_KEY = "hydra.sweeper.goals"
Direction = Literal["maximize", "minimize"]
_KNOWN: dict[str, tuple[str, Direction]] = {
    "metric": ("cost.student.selection", "maximize"),
    "parameters": ("cost.student.parameters", "minimize"),
    "seconds": ("cost.student.seconds", "minimize"),
    "memory": ("cost.student.peak_memory_mb", "minimize"),
}
# Figures of the evaluation split: a search that looks at them leaves nothing to report.
_REPORTED = ("metrics", "gain", "retention")


@dataclass(frozen=True)
class Goal:
    """A number of `result.json`.

    Attributes:
        name: As typed.
        path: Where it stands, with dots.
        direction: "maximize" or "minimize".
    """

    name: str
    path: str
    direction: Direction

    def shown(self, value: float, sd: float | None = None) -> str:
        """Return a value as a table shows it, with its standard deviation over seeds."""
        if self.path.endswith(".parameters"):
            return millions(value)
        if self.path == _KNOWN["metric"][0]:
            return spread(value, sd)
        return f"{value:,.4g}" if sd is None else f"{value:,.4g} ± {sd:,.2g}"

    def read(self, content: Mapping[str, Any]) -> float:
        """Return the number; its negative for a metric of which less is better.

        Args:
            content: What `result.json` holds.

        Raises:
            UsageError: If there is none, or it is not a number.
        """
        value: Any = content
        for key in self.path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            of_metric = self.path == _KNOWN["metric"][0]
            return sign(str(content.get("metric"))) * value if of_metric else float(value)
        if self.path == _KNOWN["metric"][0]:
            raise UsageError(
                "no epoch was scored on the selection split, which a search chooses by; let"
                " trainer.max_epochs and trainer.max_steps reach the end of an epoch"
            )
        raise UsageError(f"{_KEY}: result.json has no number at {self.path}")


def parse_goals(given: Any) -> list[Goal]:
    """Read the goals.

    Args:
        given: Names, or names with directions.

    Raises:
        ConfigError: If a name or direction is none, or a goal is taken from the evaluation split.
    """
    named = {given: None} if isinstance(given, str) else given
    if not isinstance(named, Mapping):
        named = dict.fromkeys(named) if isinstance(named, Sequence) else {}
    if not named:
        raise ConfigError(f"{_KEY}={given}: name what is searched for, such as [metric]")
    return [_goal(str(name), direction) for name, direction in named.items()]


def _goal(name: str, direction: str | None) -> Goal:
    path, usual = _KNOWN.get(name, (name, None))
    if path.split(".")[0] in _REPORTED:
        raise ConfigError(
            f"{_KEY}: {name} is of the evaluation split, which is only reported; search for metric"
            " (the main metric on the selection split)"
        )
    if "." not in path:
        raise ConfigError(
            f"{_KEY}: {name} is none of {', '.join(_KNOWN)}, nor a dotted place in result.json"
            f"{did_you_mean(name, _KNOWN)}"
        )
    better = direction or usual
    if better is None:
        raise ConfigError(f"{_KEY}: say which way {name} is better: {{{name}: minimize}}")
    if better != "maximize" and better != "minimize":
        raise ConfigError(f"{_KEY}: {name}: {better} is neither maximize nor minimize")
    if name == "metric" and direction == "minimize":
        raise ConfigError(f"{_KEY}: metric: minimize: which way the metric is better is known")
    return Goal(name, path, cast(Direction, better))
