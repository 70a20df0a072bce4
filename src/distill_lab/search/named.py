"""Samplers and pruners, named in plain configuration: Optuna's class, and its arguments."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna

from distill_lab.errors import ConfigError, did_you_mean
from distill_lab.signatures import faults_of

# Those that need no objects as arguments, and keep no pickle in the study.
SAMPLERS = ("TPESampler", "RandomSampler", "GPSampler", "NSGAIISampler", "QMCSampler")
PRUNERS = (
    "MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner",
    "ThresholdPruner",
)  # fmt: skip
# Its points fill the space evenly only while the seed stays.
_ONE_SEED = ("QMCSampler",)


def sampler(node: Mapping[str, Any], drawn: int) -> optuna.samplers.BaseSampler:
    """Build a sampler that goes on as if the search had never been interrupted.

    Args:
        node: `name` and arguments.
        drawn: Trials that were drawn before; moves the seed on.

    Raises:
        ConfigError: If the name or an argument is none.
    """
    arguments = _checked("sampler", node, SAMPLERS)
    if isinstance(arguments.get("seed"), int) and node["name"] not in _ONE_SEED:
        arguments["seed"] += drawn
    built: optuna.samplers.BaseSampler = _built(optuna.samplers, node["name"], arguments)
    return built


def pruner(node: Mapping[str, Any] | None) -> optuna.pruners.BasePruner:
    """Build a pruner; null prunes nothing.

    Raises:
        ConfigError: If the name or an argument is none.
    """
    if node is None:
        return optuna.pruners.NopPruner()
    arguments = _checked("pruner", node, PRUNERS)
    built: optuna.pruners.BasePruner = _built(optuna.pruners, node["name"], arguments)
    return built


def _checked(kind: str, node: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    key, name = f"hydra.sweeper.{kind}", str(node.get("name"))
    if name not in known:
        raise ConfigError(
            f"{key}.name={name}: there is no such {kind}{did_you_mean(name, known)} (there are"
            f" {', '.join(known)})"
        )
    arguments = {str(k): v for k, v in node.items() if k != "name"}
    faults = faults_of(key, {**arguments, "_target_": f"optuna.{kind}s.{name}"})
    if faults:
        raise ConfigError(faults)
    return arguments


def _built(module: Any, name: str, arguments: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return getattr(module, name)(**arguments)
    except ValueError as error:
        raise ConfigError(f"hydra.sweeper: {name}: {error}") from error
