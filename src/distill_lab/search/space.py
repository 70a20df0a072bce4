"""The search space, as Hydra's overrides describe it: choices, ranges, intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from distill_lab.config import GROUPS
from distill_lab.errors import ConfigError

_DIGITS = 4  # of a number on a continuous axis, so that folders and tables can be read
_NOT_SEARCHED = {
    "seed": "the luckiest seed would pass for the best setting; type hydra.sweeper.seeds={} and a"
    " trial is the mean over them",
    "study": "all trials of a search are in one study",
    "task": "scores of different tasks cannot be compared; search on each one in its own study",
}


@dataclass(frozen=True)
class Axis:
    """A key and where its values may lie.

    Attributes:
        key: As typed, with a leading `+` if there was one.
        distribution: In Optuna's words; categories are values as they would be typed.
    """

    key: str
    distribution: BaseDistribution

    @property
    def name(self) -> str:
        """The key alone."""
        return self.key.lstrip("+")

    @property
    def is_group(self) -> bool:
        """Whether it chooses a file of a group, such as `objective`."""
        return self.name in GROUPS

    def typed(self, value: Any) -> str:
        """Return a value as it would be typed."""
        if isinstance(self.distribution, FloatDistribution):
            digits = 10 if self.distribution.step is not None else _DIGITS
            return f"{value:.{digits}g}"
        return str(value)

    def suggest(self, trial: Trial) -> str:
        """Draw a value for a trial and return it as it would be typed."""
        drawn: Any
        match self.distribution:
            case FloatDistribution(low=low, high=high, step=step, log=log):
                drawn = trial.suggest_float(self.name, low, high, step=step, log=log)
            case IntDistribution(low=low, high=high, step=step, log=log):
                drawn = trial.suggest_int(self.name, low, high, step=step, log=log)
            case CategoricalDistribution(choices=choices):
                drawn = trial.suggest_categorical(self.name, choices)
        return f"{self.key}={self.typed(drawn)}"

    def kind(self) -> str:
        """Return what may not change while a search goes on; the ends of an axis may."""
        if isinstance(self.distribution, CategoricalDistribution):
            return f"{self.name}={','.join(self.probes())}"
        assert isinstance(self.distribution, (FloatDistribution, IntDistribution))
        numbers = "fractions" if isinstance(self.distribution, FloatDistribution) else "integers"
        return f"{self.name}={'logarithms of ' if self.distribution.log else ''}{numbers}"

    def probes(self) -> list[str]:
        """Return the values that tell whether all of the axis can be used: ends, or choices."""
        if isinstance(self.distribution, CategoricalDistribution):
            return [str(choice) for choice in self.distribution.choices]
        assert isinstance(self.distribution, (FloatDistribution, IntDistribution))
        return [self.typed(self.distribution.low), self.typed(self.distribution.high)]


@dataclass(frozen=True)
class Space:
    """What a line asks for.

    Attributes:
        axes: What is searched, groups first: they decide which other keys there are.
        fixed: The other overrides, the same for every trial.
    """

    axes: list[Axis]
    fixed: list[str]

    def has(self, key: str) -> bool:
        """Tell whether a key was typed with one value."""
        return any(line.lstrip("+~").partition("=")[0] == key for line in self.fixed)


def parse_space(lines: Iterable[str], loader: ConfigLoader) -> Space:
    """Read overrides; of two for one key the later one holds.

    Args:
        lines: Overrides, those of `hydra.sweeper.params` before those that were typed.
        loader: Lists the choices of a group, for `glob`.

    Raises:
        ConfigError: If nothing is searched, or what is searched makes no sense; with all faults.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(lines))
    latest = {o.get_key_element().lstrip("+~"): o for o in parsed}
    axes, fixed, faults = [], [], []
    for name, override in latest.items():
        try:
            if override.is_sweep_override():
                axes.append(Axis(override.get_key_element(), _distribution(name, override)))
            else:
                fixed.append(_as_typed(override))
        except ConfigError as error:
            faults += error.faults
    if not axes and not faults:
        faults = ["hydra/sweeper=optuna: nothing is searched; type KEY='interval(LOW,HIGH)' or"
                  " KEY=A,B"]  # fmt: skip
    if faults:
        raise ConfigError(faults)
    return Space(sorted(axes, key=lambda axis: not axis.is_group), fixed)


def _as_typed(override: Override) -> str:
    if override.is_delete():
        return str(override.input_line)
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _distribution(name: str, override: Override) -> BaseDistribution:
    value = override.value()
    if name in _NOT_SEARCHED:
        reason = _NOT_SEARCHED[name].format("[1,2,3]")
        raise ConfigError(f"{override.input_line}: {name} cannot be searched: {reason}")
    log = _is_log(override, value)
    try:
        if override.is_range_sweep():
            assert isinstance(value, RangeSweep)
            return _of_range(value, _has_step(override), log)
        if override.is_interval_sweep():
            assert isinstance(value, IntervalSweep)
            return _between(value.start, value.end, log)
        if log:
            raise ConfigError("log is for intervals and ranges")
        return _of_choices(override)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{override.input_line}: {error}") from error


def _is_log(override: Override, value: Any) -> bool:
    tags = set(value.tags) if isinstance(value, Sweep) else set()
    unknown = sorted(tags - {"log"})
    if unknown:
        raise ConfigError(
            f"{override.input_line}: there is no tag {unknown[0]}; the one that a search knows is"
            " log"
        )
    return bool(tags)


def _of_choices(override: Override) -> BaseDistribution:
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ConfigError("no choice fits")
    return CategoricalDistribution(choices)


def _of_range(value: RangeSweep, has_step: bool, log: bool) -> BaseDistribution:
    """Return the values that Hydra's `range` has, its end left out.

    A range of fractions without a step has one value in a sweep; here it is continuous.
    """
    if not has_step and (isinstance(value.start, float) or isinstance(value.stop, float)):
        return _between(value.start, value.stop, log)
    values = value.range()
    ends = sorted(_ends(values))
    if log and (has_step or isinstance(ends[0], float)):
        raise ConfigError("a range with a step is not searched by its logarithm")
    step = abs(value.step)
    if isinstance(ends[0], float):
        return FloatDistribution(ends[0], round(ends[1], 10), step=float(step))
    return IntDistribution(int(ends[0]), int(ends[1]), step=1 if log else int(step), log=log)


def _ends(values: Any) -> tuple[Any, Any]:
    if isinstance(values, range):
        first_and_last: list[Any] = [values[0], values[-1]] if values else []
    else:
        first_and_last = list(_listed(values))
    if not first_and_last:
        raise ConfigError("the range is empty")
    return first_and_last[0], first_and_last[-1]


def _listed(values: Any) -> Iterator[float]:
    for count, value in enumerate(values):
        if count > 100_000:
            raise ConfigError("the range has too many values; take an interval")
        yield value


def _has_step(override: Override) -> bool:
    # Hydra keeps no trace of whether the step was given.
    line = str(override.input_line)
    inside = line[line.index("range(") :].partition(")")[0]
    return inside.count(",") >= 2 or "step" in inside


def _between(low: Any, high: Any, log: bool) -> BaseDistribution:
    if low >= high:
        raise ConfigError(f"{low} is not below {high}")
    if log and low <= 0:
        raise ConfigError(f"{low} has no logarithm; the lower end must be above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)
