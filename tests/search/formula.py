"""Searches whose jobs are a formula: everything is real but the training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from distill_lab.callbacks.pruning import TRIAL
from distill_lab.config import conf_dir
from distill_lab.errors import JobsFailed
from distill_lab.hydra_entry import register_schema
from distill_lab.search.journal import report
from hydra_plugins.distill_lab_optuna.optuna_sweeper import OptunaSweeper

Values = dict[str, Any]


class Broken(Exception):
    """A job that fails."""


class Formula(Launcher):
    """Writes what a job would leave.

    Args:
        score: From a job's values to its selection score, or the scores of its epochs.
    """

    def __init__(self, score: Callable[[Values], float | list[float]]) -> None:
        self.score = score
        self.batches: list[list[Values]] = []

    def setup(self, **_: Any) -> None: ...

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        self.batches.append([_values(line) for line in job_overrides])
        failed = 0
        for values in self.batches[-1]:
            folder = Path("runs/mine") / values["hydra.sweep.subdir"]
            if not (folder / "result.json").exists():
                failed += self._run(folder, values)
        if failed:
            raise JobsFailed("some failed")
        return []

    @property
    def ran(self) -> list[Values]:
        return [values for batch in self.batches for values in batch]

    def _run(self, folder: Path, values: Values) -> bool:
        typed = [f"{k}={v}" for k, v in values.items() if not k.startswith("hydra.")]
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(typed))
        try:
            scores = self.score(values)
        except Broken as error:
            (folder / "error.txt").write_text(str(error))
            return True
        epochs = scores if isinstance(scores, list) else [scores]
        told = values.get(f"hydra.job.env_set.{TRIAL}")
        pruned = bool(told) and any(report(told, i, s) for i, s in enumerate(epochs[:-1], 1))
        cost = {"selection": max(epochs), "parameters": 1000 * int(values.get("size", 1))}
        content = {"status": "pruned" if pruned else "finished", "cost": {"student": cost}}
        (folder / "result.json").write_text(json.dumps(content))
        return False


def _values(line: Sequence[str]) -> Values:
    parsed = OverridesParser.create().parse_overrides(list(line))
    return {override.key_or_group: override.value() for override in parsed}


@contextmanager
def sweeper(launcher: Launcher, *line: str) -> Iterator[Callable[[], None]]:
    """Give a search as `distill-lab train -m hydra/sweeper=optuna study=mine ...` begins one."""
    register_schema()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        fixed = [text for text in line if text.startswith("hydra")]
        typed = ["study=mine", *(text for text in line if not text.startswith("hydra"))]
        config = hydra.compose(
            "train", overrides=["hydra/sweeper=optuna", "study=mine", *fixed],
            return_hydra_config=True,
        )  # fmt: skip
        HydraConfig.instance().set_config(config)
        node = {k: v for k, v in config.hydra.sweeper.items() if not str(k).startswith("_")}
        one = OptunaSweeper(**node)
        one.config, one.launcher = config, launcher
        one.hydra_context = type("Context", (), {})()
        one.hydra_context.config_loader = GlobalHydra.instance().config_loader()
        yield lambda: one.sweep(typed)


def search(launcher: Launcher, *line: str) -> None:
    with sweeper(launcher, *line) as go:
        go()
