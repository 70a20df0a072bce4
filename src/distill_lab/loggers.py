"""Loggers of a run: built from the configuration, closed whatever happens."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger, WandbLogger

from distill_lab import ranks
from distill_lab.config import Config, build
from distill_lab.errors import ConfigError, UsageError, first_line
from distill_lab.results import Provenance, Result
from distill_lab.store import write_atomically
from distill_lab.wandb_artifacts import log_artifacts

log = logging.getLogger(__name__)
_WANDB_ID = ".wandb_id"
# Seconds that W&B may take at the end; without a bound, it waits for days for a server that does
# not answer. What it has not sent stays in the run's folder, for `wandb sync`.
_WANDB_LAST = ("WANDB_FINISH_TIMEOUT", "600")


def title(config: Config, provenance: Provenance, task: str) -> str:
    """Return a short name of a run, for people: task, student, objective, T, λ, seed."""
    chosen = [provenance.choices.get(group, "") for group in ("student", "objective")]
    values = {"T": config.objective.get("temperature"), "lam": config.objective.get("lam")}
    settings = [f"{name}{value:g}" for name, value in values.items() if value is not None]
    return "-".join([task, *filter(None, chosen), *settings, f"seed{config.seed}"])


@contextmanager
def logged(config: Config, out_dir: Path, name: str) -> Iterator[list[Logger]]:
    """Build the loggers and close them at the end; a failed run is marked as failed.

    Args:
        config: Its `logger` group is a dict of nodes by name.
        out_dir: Where they write.
        name: Name of the run, for loggers whose own is null.

    Raises:
        ConfigError: If W&B cannot start, or a logger refuses a value.
    """
    os.environ.setdefault(*_WANDB_LAST)
    loggers: list[Logger] = []
    failed = True
    try:
        for key, node in config.logger.items():
            given: dict[str, Any] = (
                {"name": name} if "name" in node and node["name"] is None else {}
            )
            if (
                node["_target_"].endswith(".WandbLogger")
                and ranks.rank() == 0
                and not node.get("id")
            ):
                given["id"] = _wandb_id(out_dir)
            if node.get("log_model") is True:  # which for Lightning are checkpoints, see `report`
                given["log_model"] = False
            try:
                loggers.append(build({**node, **given}, save_dir=str(out_dir)))
            except UsageError:
                raise
            except (MisconfigurationException, ValueError, TypeError) as error:
                raise ConfigError(f"logger.{key}: {first_line(error)}") from error
        for logger in loggers:
            _describe(logger, config)
        yield loggers
        failed = False
        (out_dir / _WANDB_ID).unlink(missing_ok=True)
    finally:
        _finish(failed)


def _wandb_id(out_dir: Path) -> str:
    """Return the id of the run of an earlier try in this folder, or a new one.

    A run that was ended so goes on as the same one of W&B's.
    """
    file = out_dir / _WANDB_ID
    if not file.is_file():
        write_atomically(file, uuid.uuid4().hex[:8])
    return file.read_text(encoding="utf-8").strip()


def _describe(logger: Logger, config: Config) -> None:
    if not isinstance(logger, WandbLogger) or ranks.rank() > 0:  # of which the first writes
        return
    import wandb

    # Lightning always passes a setting of which W&B warns on every start.
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)
    try:
        logger.experiment.config.update(asdict(config), allow_val_change=True)
    except (wandb.errors.Error, ValueError, TypeError) as error:  # of the server, or of a setting
        reason = first_line(error)
        raise ConfigError(
            f"logger.wandb: W&B cannot start ({reason}); log in with `wandb login`, or type"
            " logger.wandb.offline=true"
        ) from error


def report(loggers: list[Logger], result: Result, student: Path) -> None:
    """Give the final comparison to every logger; W&B shows it as its summary and as a table.

    Args:
        loggers: Of the run.
        result: What is told.
        student: Its folder, which W&B gets as an artifact, see `wandb_artifacts`.
    """
    values = {
        f"evaluation/{model}/{name}": value
        for model, metrics in result.metrics.items()
        for name, value in metrics.items()
    }
    derived = {"retention": result.retention, "gain": result.gain}
    values |= {f"evaluation/{k}": v for k, v in derived.items() if v is not None}
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            with _at_any_rate():
                logger.experiment.summary.update(values)
                logger.log_table("comparison", *_comparison(result))
                log_artifacts(logger.experiment, result, student)
        else:
            logger.log_metrics(values)
        logger.save()


@contextmanager
def _at_any_rate() -> Iterator[None]:
    """Tell what W&B refuses and go on: hours of training are not lost for a server."""
    try:
        yield
    except Exception as error:  # of the network, the server, or the process that talks to it
        reason = str(error).strip().splitlines() or [type(error).__name__]
        log.warning(
            "W&B: the comparison or the student could not be logged (%s); what it has not got lies"
            " in wandb/ of the run's folder, for `wandb sync`",
            reason[0],
        )


def _comparison(result: Result) -> tuple[list[str], list[list[Any]]]:
    names = list(result.metrics["student"])
    rows = [[model, *(m[n] for n in names)] for model, m in result.metrics.items()]
    return ["model", *names], rows


def _finish(failed: bool) -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        with _at_any_rate():
            wandb.finish(exit_code=int(failed))
