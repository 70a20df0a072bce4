"""Looking at the search space before the first trial, and at each trial before its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from distill_lab.config import plain
from distill_lab.errors import ConfigError, UsageError
from distill_lab.search.space import Axis, Space

_NOT_THERE = ": not a parameter of "


class Looks:
    """Composes jobs and holds their keys and values against what takes them.

    Args:
        loader: Composes.
        config: Of the search, with `hydra`.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self.loader = loader
        self.config = config

    def faults(self, overrides: Sequence[str]) -> list[str]:
        """Return what is wrong with a job; nothing is loaded."""
        from distill_lab.parts import look_at

        config = self.loader.load_sweep_config(self.config, list(overrides))
        HydraConfig.instance().set_config(config)  # for interpolations of `hydra:`
        try:
            look_at(plain(config))
        except UsageError as error:
            return str(error).splitlines()
        finally:
            HydraConfig.instance().set_config(self.config)
        return []


class Conditions:
    """Which keys exist under which choice: `mse_logits` has no temperature to be searched.

    Args:
        space: Every choice and the ends of every axis are looked at once.
        looks: Tells the faults of a job.

    Raises:
        ConfigError: If a value cannot be used, or a key exists under no choice.
    """

    def __init__(self, space: Space, looks: Looks) -> None:
        self._absent: dict[tuple[str, str], str] = {}
        faults = dict[str, None]()
        for values in _rounds(space.axes):
            faults |= dict.fromkeys(self._look(space, values, looks))
        faults |= dict.fromkeys(self._nowhere(space))
        if faults:
            raise ConfigError(faults)

    def applies(self, axis: Axis, chosen: Mapping[str, str]) -> bool:
        """Tell whether a key exists.

        Args:
            axis: Of the space.
            chosen: Name and value of the groups that are searched.
        """
        return (axis.name, _own(axis, chosen)) not in self._absent

    def _look(self, space: Space, values: Mapping[Axis, str], looks: Looks) -> list[str]:
        """Return the faults of one combination; keys that its choices lack are only noted."""
        chosen = {axis.name: text for axis, text in values.items() if axis.is_group}
        there = {a: text for a, text in values.items() if self.applies(a, chosen)}
        faults = looks.faults([*space.fixed, *(f"{a.key}={text}" for a, text in there.items())])
        absent = {
            axis: f for axis in there for f in faults if _names(f, axis) and not axis.is_group
        }
        if not absent:
            return faults
        self._absent |= {(axis.name, _own(axis, chosen)): fault for axis, fault in absent.items()}
        return self._look(space, values, looks)

    def _nowhere(self, space: Space) -> Iterable[str]:
        groups = {axis.name: axis.probes() for axis in space.axes if axis.is_group}
        for axis in space.axes:
            group = axis.name.split(".")[0]
            options = groups.get(group, [""])
            if all((axis.name, option) in self._absent for option in options):
                yield self._absent[axis.name, options[0]]


def _rounds(axes: Sequence[Axis]) -> Iterable[dict[Axis, str]]:
    """Return combinations in which every choice meets both ends of every axis."""
    longest = max(len(axis.probes()) for axis in axes)
    for turn in range(2 * longest if any(axis.is_group for axis in axes) else longest):
        values = {}
        for axis in axes:
            probes = axis.probes()
            values[axis] = probes[(turn // 2 if axis.is_group else turn) % len(probes)]
        yield values


def _own(axis: Axis, chosen: Mapping[str, str]) -> str:
    return chosen.get(axis.name.split(".")[0], "")


def _names(fault: str, axis: Axis) -> bool:
    key, found, _ = fault.partition(_NOT_THERE)
    return bool(found) and f"{axis.name}.".startswith(f"{key}.")
