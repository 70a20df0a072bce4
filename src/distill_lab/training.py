"""Training a module by Lightning, the same way for teacher, student and baseline."""

from __future__ import annotations

import logging
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from pytorch_lightning.utilities.exceptions import SIGTERMException

from distill_lab import ranks
from distill_lab.config import build
from distill_lab.errors import ConfigError
from distill_lab.guards import tell_slow_precision
from distill_lab.meter import Cost, Meter
from distill_lab.modules.base import TrainedModel
from distill_lab.tasks import Data
from distill_lab.tasks.batching import scoring_batches, training_batches

# Parts of a trainer's configuration that change what is shown, not what is learned.
_COSMETIC = {"log_every_n_steps", "enable_progress_bar", "enable_model_summary", "profiler"}
_COSMETIC_CALLBACKS = {"distillation", "progress", "pruning"}
_MACHINE = ("_target_", "accelerator", "devices", "strategy", "num_nodes", "precision",
            "deterministic", *sorted(_COSMETIC))  # fmt: skip
_TEACHER_CALLBACKS = {"checkpoint", "progress"}


@dataclass(frozen=True)
class Budget:
    """Everything besides model, data and optimizer that decides how a training ends.

    Attributes:
        trainer: Configuration of `pytorch_lightning.Trainer`.
        callbacks: Configurations of callbacks by name.
        seed: Fixes order, dropout and whatever else is drawn.
    """

    trainer: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    seed: int

    def ingredients(self) -> dict[str, Any]:
        """Return the parts that determine the trained weights, for fingerprints."""
        return {
            "trainer": {k: v for k, v in self.trainer.items() if k not in _COSMETIC},
            "callbacks": {k: v for k, v in self.callbacks.items() if k not in _COSMETIC_CALLBACKS},
            "seed": self.seed,
        }

    def rows_seen(self, rows: int, batch_size: int) -> int:
        """Return how many rows a training looks at, counted as often as it does.

        Args:
            rows: Rows of an epoch.
            batch_size: Rows of a batch.
        """
        epochs: int | None = self.trainer.get("max_epochs")
        steps = int(self.trainer.get("max_steps", -1))
        in_steps = steps * batch_size * int(self.trainer.get("accumulate_grad_batches", 1))
        if epochs is None or epochs < 0:
            return in_steps if steps >= 0 else rows
        return epochs * rows if steps < 0 else min(epochs * rows, in_steps)

    def for_teacher(self, epochs: int, max_steps: int, seed: int) -> Budget:
        """Return a budget that shares only machine and precision with this one.

        So a sweep over the student's training finds one teacher.
        """
        trainer = {key: self.trainer[key] for key in _MACHINE if key in self.trainer}
        limits = {"max_epochs": epochs, "max_steps": max_steps, "gradient_clip_val": 1.0}
        callbacks = {k: v for k, v in self.callbacks.items() if k in _TEACHER_CALLBACKS}
        return Budget({**trainer, **limits, "num_sanity_val_steps": 0}, callbacks, seed)


def fit(
    module: TrainedModel, data: Data, budget: Budget, out_dir: Path, name: str, loggers: list[Any]
) -> Cost:
    """Train a module and leave it with the weights of its best epoch.

    Args:
        module: Fine-tuning or distillation.
        data: Trains on `data.train`, chooses the epoch on `data.selection`.
        budget: Limits, callbacks and seed.
        out_dir: Where checkpoints go.
        name: "teacher", "student" or "baseline", for the log.
        loggers: Built Lightning loggers.

    Returns:
        What it took.

    Raises:
        KeyboardInterrupt: If the training was interrupted.
    """
    pl.seed_everything(budget.seed, verbose=False)
    rank, world = ranks.rank(), ranks.world()
    torch.manual_seed(budget.seed + 1_000_003 * rank)  # each process drops out other units
    batch_size = module.optim.batch_size
    meter = Meter(name)
    with _quiet():
        trainer: pl.Trainer = build(
            {**budget.trainer, "strategy": _strategy(budget, module)},
            default_root_dir=str(out_dir),
            use_distributed_sampler=False,  # `training_batches` divides the rows
            profiler=budget.trainer.get("profiler") or _Unwatched(),
            logger=loggers,
            callbacks=[*(build(node) for node in budget.callbacks.values()), meter],
        )
        module.role = name
        accumulate = trainer.accumulate_grad_batches
        module.train()  # transformers loads in evaluation mode, and Lightning leaves it so
        started = time.perf_counter()
        with _interruptible(trainer):
            trainer.fit(
                module,
                training_batches(data.train, batch_size, budget.seed, accumulate, rank, world),
                scoring_batches(data.selection, 4 * batch_size, rank, world),
            )
        _load_best(trainer, module)
    examples = sum(ranks.gathered(meter.examples))
    return Cost(
        round(time.perf_counter() - started, 3),
        examples,
        round(examples / max(meter.seconds, 1e-9), 2),
        _peak_memory_mb(),
        meter.best_epoch,
        meter.best if meter.best_epoch else None,
    )


def _strategy(budget: Budget, module: TrainedModel) -> Any:
    chosen = budget.trainer.get("strategy", "auto")
    return "ddp_find_unused_parameters_true" if chosen == "ddp" and module.idles else chosen


def device_for(trainer: Mapping[str, Any]) -> torch.device:
    """Return where a trainer's configuration computes."""
    chosen = str(trainer.get("accelerator", "auto"))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if chosen == "cpu" or accelerator is None:
        return torch.device("cpu")
    return accelerator


def check_budget(budget: Budget) -> int:
    """Build trainer and callbacks once, so that bad values are told before any training.

    Returns:
        How many processes of this machine train together.

    Raises:
        ConfigError: If Lightning refuses a value, or needs processes that are not started.
    """
    try:
        with _quiet():
            callbacks = [build(node) for node in budget.callbacks.values()]
            trainer: pl.Trainer = build(budget.trainer, logger=False, callbacks=callbacks)
    except InstantiationException as error:
        if not isinstance(error.__cause__, (MisconfigurationException, ValueError, RuntimeError)):
            raise
        reason = str(error.__cause__).strip().splitlines()[0]
        raise ConfigError(f"trainer: {reason}") from error
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
    return int(trainer.num_devices) if trainer.world_size > 1 else 1


class _Unwatched(PassThroughProfiler):
    """No profiler, at no price: Lightning asks for some fifty of its contexts in each step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> nullcontext[None]:  # type: ignore[override]
        """Return a context that does nothing."""
        return self._nothing


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Let Ctrl-C out; Lightning ends the process on its own, deaf to a second one.

    A process that was told to end (SIGTERM) ends by it: Lightning's exit code would be 0.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    except SystemExit as stopped:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stopped


def _load_best(trainer: pl.Trainer, module: TrainedModel) -> None:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if path:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says of devices, workers and tips."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        # A training that ends within its first epoch scores none.
        warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")
        try:
            yield
        finally:
            logger.setLevel(level)
