"""Automatic search as a sweeper of Hydra; Optuna itself is imported when a search begins.

The official sweeper pins Optuna below 3, whose storages do not work with current libraries.
"""

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from distill_lab.errors import ConfigError

# No `from __future__ import annotations` above: Hydra loads plugins in a way that dataclasses of
# such modules do not survive.
_LEAST = (4, 9)
_BATCHES = 4


@dataclass
class OptunaConf:
    """Configuration of `hydra/sweeper=optuna`; its values are in `conf/hydra/sweeper`."""

    _target_: str = "hydra_plugins.distill_lab_optuna.optuna_sweeper.OptunaSweeper"
    _recursive_: bool = False
    goals: Any = "metric"
    n_trials: int = 20
    n_jobs: int | None = None
    seeds: list[int] = field(default_factory=list)
    sampler: dict[str, Any] = field(default_factory=dict)
    pruner: dict[str, Any] | None = field(default_factory=dict)
    max_failures: int = 5
    params: dict[str, Any] | None = None


def _node() -> DictConfig:
    node: DictConfig = OmegaConf.structured(OptunaConf)
    for name in ("sampler", "pruner"):  # their keys are checked against what they name
        OmegaConf.set_struct(node[name], False)
    return node


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna_schema", node=_node(), provider="distill_lab"
)


class OptunaSweeper(Sweeper):
    """Searches the space that the overrides describe; see `distill_lab.search`.

    Args:
        goals: Names, or names with directions.
        n_trials: How many the study shall have, earlier ones counted.
        n_jobs: Trials at a time; None for as many as the launcher runs, and a quarter of all at
            most, for a trial learns from those that have ended before it is drawn.
        seeds: A trial is the mean over them.
        sampler: Name and arguments of an Optuna sampler.
        pruner: Name and arguments of an Optuna pruner, or None.
        max_failures: How many trials may fail in a row.
        params: Overrides of a study's overlay, by key; what is typed goes over them.
    """

    def __init__(
        self,
        goals: Any,
        n_trials: int,
        n_jobs: int | None,
        seeds: Any,
        sampler: Any,
        pruner: Any,
        max_failures: int,
        params: Any,
    ) -> None:
        self.goals = _plain(goals)
        self.settings: dict[str, Any] = {
            "n_trials": n_trials,
            "n_jobs": n_jobs,
            "seeds": _plain(seeds) or [],
            "sampler": _plain(sampler),
            "pruner": _plain(pruner),
            "max_failures": max_failures,
        }
        self.params: dict[str, Any] = _plain(params) or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what is needed to search.

        Raises:
            ConfigError: If Optuna is not installed, or too old.
        """
        _check_optuna()
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search, and print what was best.

        Args:
            arguments: Overrides as typed.

        Raises:
            UsageError: If they cannot be used.
            JobsFailed: If no trial finished.
        """
        from distill_lab.search.goals import parse_goals
        from distill_lab.search.search import Search
        from distill_lab.search.settings import Settings
        from distill_lab.search.space import parse_space

        assert self.config is not None and self.launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        if self.settings["n_jobs"] is None:
            room = getattr(getattr(self.launcher, "executor", None), "at_once", 1)
            self.settings["n_jobs"] = min(room, max(1, self.settings["n_trials"] // _BATCHES))
        settings = Settings(goals=parse_goals(self.goals), **self.settings)
        lines = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        Search(settings, parse_space(lines, loader), self.launcher, loader, self.config).run()


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _check_optuna() -> None:
    try:
        found = version("optuna")
    except PackageNotFoundError:
        found = ""
    if not found or tuple(int(part) for part in found.split(".")[:2]) < _LEAST:
        state = f"Optuna {found} is too old" if found else "Optuna is not installed"
        raise ConfigError(f"hydra/sweeper=optuna: {state}; pip install 'distill-lab[optuna]'")
