"""What decides how a training ends besides model, data and optimizer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from distill_lab import ranks
from distill_lab.config import build
from distill_lab.errors import ConfigError, UsageError, first_line, refuse
from distill_lab.guards import tell_slow_precision
from distill_lab.sharding import check_division, check_strategy, strategy
from distill_lab.under_lightning import quiet

# Parts of a trainer's configuration that change what is shown, not what is learned.
_COSMETIC = {"log_every_n_steps", "enable_progress_bar", "enable_model_summary", "profiler"}
_COUNTED = {"devices", "num_nodes"}  # by `Budget.world`, for "auto" is not the same everywhere
_COSMETIC_CALLBACKS = {"distillation", "finite", "progress", "pruning", "resume"}
_MACHINE = ("_target_", "accelerator", "devices", "strategy", "num_nodes", "precision",
            "deterministic", *sorted(_COSMETIC))  # fmt: skip
_TEACHER_CALLBACKS = {"checkpoint", "finite", "progress", "resume"}


Mixed = Literal["", "bf16", "16"]
_HALVES = {"bf16": torch.bfloat16, "16": torch.float16}


def mixed_precision(trainer: Mapping[str, Any]) -> Mixed:
    """Return in which half precision models compute under autocast; empty where there is none."""
    precision = str(trainer.get("precision"))
    found = {"bf16": "bf16", "bf16-mixed": "bf16", "16": "16", "16-mixed": "16"}.get(precision, "")
    return found  # type: ignore[return-value]


def autocast(mixed: Mixed, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which Lightning runs models, for those that run outside of it."""
    return torch.autocast(device.type, _HALVES[mixed]) if mixed else nullcontext()


@dataclass(frozen=True)
class Budget:
    """Everything besides model, data and optimizer that decides how a training ends.

    Attributes:
        trainer: Configuration of `pytorch_lightning.Trainer`.
        callbacks: Configurations of callbacks by name.
        seed: Fixes order, dropout and whatever else is drawn.
        world: How many processes train together, each with batches of its own.
        workers: How many processes put batches together for each of them; changes no batch.
    """

    trainer: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    seed: int
    world: int = 1
    workers: int = 0

    def ingredients(self) -> dict[str, Any]:
        """Return the parts that determine the trained weights, for fingerprints."""
        return {
            "trainer": {k: v for k, v in self.trainer.items() if k not in _COSMETIC | _COUNTED},
            "callbacks": {k: v for k, v in self.callbacks.items() if k not in _COSMETIC_CALLBACKS},
            "seed": self.seed,
            "world": self.world,
        }

    def rows_seen(self, rows: int, batch_size: int) -> int:
        """Return how many rows a training looks at, counted as often as it does.

        Args:
            rows: Rows of an epoch.
            batch_size: Rows of a batch.
        """
        epochs: int | None = self.trainer.get("max_epochs")
        steps = int(self.trainer.get("max_steps", -1))
        batch_size *= self.world
        in_steps = steps * batch_size * int(self.trainer.get("accumulate_grad_batches", 1))
        rows = self._of_epoch(rows, batch_size)
        if epochs is None or epochs < 0:
            return in_steps if steps >= 0 else rows
        return epochs * rows if steps < 0 else min(epochs * rows, in_steps)

    def steps(self, rows: int, batch_size: int) -> int:
        """Return how many steps the optimizer takes in a training.

        Args:
            rows: Rows of an epoch.
            batch_size: Rows of a batch.
        """
        epochs, most = self.trainer.get("max_epochs"), int(self.trainer.get("max_steps", -1))
        if epochs is None or epochs < 0:
            return max(most, 1)
        together = int(self.trainer.get("accumulate_grad_batches", 1))
        batch_size *= self.world
        batches = math.ceil(self._of_epoch(rows, batch_size) / batch_size)
        steps = int(epochs) * math.ceil(batches / together)
        return steps if most < 0 else min(steps, most)

    def _of_epoch(self, rows: int, batch_size: int) -> int:
        """Return how many rows an epoch looks at; a limit is a share or a number of batches."""
        limit = self.trainer.get("limit_train_batches")
        if limit is None:
            return rows
        return min(rows, limit * batch_size if isinstance(limit, int) else int(limit * rows))

    def for_teacher(self, epochs: int, max_steps: int, seed: int) -> Budget:
        """Return a budget that shares only machine and precision with this one.

        So a sweep over the student's training finds one teacher.
        """
        trainer = {key: self.trainer[key] for key in _MACHINE if key in self.trainer}
        limits = {"max_epochs": epochs, "max_steps": max_steps, "gradient_clip_val": 1.0}
        callbacks = {k: v for k, v in self.callbacks.items() if k in _TEACHER_CALLBACKS}
        trainer |= {**limits, "num_sanity_val_steps": 0}
        return Budget(trainer, callbacks, seed, self.world, self.workers)


def device_for(trainer: Mapping[str, Any]) -> torch.device:
    """Return where a trainer's configuration computes."""
    chosen = str(trainer.get("accelerator", "auto"))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if chosen == "cpu" or accelerator is None:
        return torch.device("cpu")
    return accelerator


def _refused(trainer: Mapping[str, Any], reason: str) -> str:
    """Return why Lightning refuses a trainer, with the key and the value that it speaks of."""
    if re.match(r"No supported gpu|`\w+Accelerator` can not run", reason):
        chosen = trainer.get("accelerator")
        return f"trainer.accelerator={chosen}: torch finds none here; take cpu, or auto"
    named = next((word for word in re.findall(r"\w+", reason) if word in trainer), None)
    return f"trainer: {reason}" if named is None else f"trainer.{named}={trainer[named]}: {reason}"


_MEASURED = re.compile(r"(selection|train)/\w+")
_DEVICES = 1024
# A device that is none is a TypeError of Lightning's; a list of very many is a MemoryError.
_REFUSALS = (
    MisconfigurationException, ValueError, RuntimeError, TypeError, LookupError, MemoryError,
)  # fmt: skip


def check_budget(budget: Budget) -> tuple[int, int]:
    """Build trainer and callbacks once, so that bad values are told before any training.

    Returns:
        How many processes train together on this machine, and in all.

    Raises:
        ConfigError: If Lightning refuses a value, or needs processes that are not started.
    """
    limits = ("max_epochs", "max_steps")  # at 0 Lightning would leave the models as they are
    refuse({f"trainer.{n}=0: at least 1 is needed": budget.trainer.get(n) == 0 for n in limits})
    check_strategy(budget.trainer, budget.callbacks)
    devices = budget.trainer.get("devices")
    if isinstance(devices, int) and devices > _DEVICES:  # Lightning makes a list of them
        raise ConfigError(f"trainer.devices={devices}: at most {_DEVICES}, those of one machine")
    try:
        with quiet():
            callbacks = [build(node) for node in budget.callbacks.values()]
            chosen = {**budget.trainer, "strategy": strategy(budget.trainer)}
            trainer: pl.Trainer = build(chosen, logger=False, callbacks=callbacks)
    except UsageError:
        raise
    except _REFUSALS as error:
        raise ConfigError(_refused(budget.trainer, first_line(error))) from error
    check_division(budget.trainer, trainer)
    for one in (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)):
        if one.monitor is not None and not _MEASURED.fullmatch(str(one.monitor)):
            raise ConfigError(
                f"callbacks.checkpoint.monitor={one.monitor}: not what is measured while training,"
                " such as selection/score"
            )
    tell_slow_precision(str(trainer.precision), trainer.strategy.root_device)
    if trainer.num_nodes > 1 and not ranks.started():
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}: start the processes with torchrun or Slurm, or"
            " take trainer.num_nodes=1"
        )
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy={budget.trainer.get('strategy')}: it copies a running process; take"
            " trainer.strategy=ddp"
        )
    return int(trainer.num_devices) if trainer.world_size > 1 else 1, int(trainer.world_size)
