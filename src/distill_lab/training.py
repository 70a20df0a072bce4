"""Training a module by Lightning, the same way for teacher, student and baseline."""

from __future__ import annotations

import logging
import resource
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from distill_lab import ranks
from distill_lab.better import sign
from distill_lab.budget import Budget, mixed_precision
from distill_lab.callbacks import Resume
from distill_lab.callbacks.resume import go_on
from distill_lab.config import build
from distill_lab.errors import ConfigError
from distill_lab.fitting_rows import fitting_rows
from distill_lab.memory import building
from distill_lab.meter import Cost, Meter
from distill_lab.modules.base import TrainedModel
from distill_lab.processors import processors
from distill_lab.progress_files import FOLDER, ProgressFiles
from distill_lab.sharding import strategy
from distill_lab.tasks import Data
from distill_lab.tasks.batching import Beside, scoring_batches, training_batches
from distill_lab.trained_already import keep_trained, trained_already
from distill_lab.types import Batch
from distill_lab.under_lightning import Unwatched, interruptible, memory_unfilled, quiet

log = logging.getLogger(__name__)
Earlier = tuple[Path, dict[str, Any]]


def fit(
    module: TrainedModel,
    data: Data,
    budget: Budget,
    out_dir: Path,
    name: str,
    loggers: list[Any],
    key: str,
) -> Cost:
    """Train a module and leave it with the weights of its best epoch.

    Args:
        module: Fine-tuning or distillation.
        data: Trains on `data.train`, chooses the epoch on `data.selection`.
        budget: Limits, callbacks and seed.
        out_dir: Where checkpoints go.
        name: "teacher", "student" or "baseline", for the log.
        loggers: Built Lightning loggers.
        key: Changes with whatever decides how the training goes. What an earlier try with the same
            one has left in `out_dir` is gone on from; the weights are the same to the bit.

    Returns:
        What it took.

    Raises:
        KeyboardInterrupt: If the training was interrupted; `out_dir` then tells how far it was.
    """
    rank, world = ranks.rank(), ranks.world()
    meter = Meter(name, sign(module.task.metrics[0]))
    with quiet(), memory_unfilled():
        trainer: pl.Trainer = build(
            {**budget.trainer, "strategy": _strategy(budget, module)},
            default_root_dir=str(out_dir),
            use_distributed_sampler=False,  # `training_batches` divides the rows
            profiler=budget.trainer.get("profiler") or Unwatched(),
            logger=loggers,
            callbacks=[*(build(node) for node in budget.callbacks.values()), meter],
        )
        device = trainer.strategy.root_device
        keeper = next((c for c in trainer.callbacks if isinstance(c, Resume)), None)  # type: ignore[attr-defined]
        # Processes that torchrun has started each have a folder by their own clock.
        files = ProgressFiles(Path(ranks.by_first(lambda: str(out_dir.absolute() / FOLDER))), key)
        known = keeper and trained_already(files, module, loggers, name)
        if known:
            return known
        earlier = _earlier(keeper, files, out_dir, name)
        batch_size = _batch_size(module, data, budget, trainer, earlier, name)
        pl.seed_everything(budget.seed, verbose=False)
        torch.manual_seed(budget.seed + 1_000_003 * rank)  # each process drops out other units
        batches = training_batches(
            data.train, batch_size, budget.seed, trainer.accumulate_grad_batches, rank, world,
            beside=Beside(min(budget.workers, processors()), pinned=device.type == "cuda"),
        )  # fmt: skip
        if earlier is not None:
            _go_on(trainer, batches, earlier[1])
        module.role, module.rows, module.selection = name, data.train, data.selection
        module.some_unlabelled = data.train.labelled() is not data.train
        if device.type == "cuda" and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)
        module.train()  # transformers loads in evaluation mode, and Lightning leaves it so
        with interruptible(trainer), _in_memory(module, name, batch_size, data):
            trainer.fit(
                module,
                batches,
                scoring_batches(data.selection, 4 * batch_size, rank, world),
                ckpt_path=earlier and earlier[0],
                weights_only=True,
            )
        module.make_whole()
        _load_best(trainer, module)
        module.float()  # which a precision such as bf16-true has changed in place
    examples = sum(ranks.gathered(meter.examples))
    cost = Cost(
        round(meter.wall, 3),
        examples,
        round(examples / max(meter.seconds, 1e-9), 2),
        _peak_memory_mb(device),
        meter.best_epoch,
        meter.sign * meter.best if meter.best_epoch else None,
        batch_size,
    )
    if keeper:
        keep_trained(files, module, loggers, cost, name)
    return cost


def forget(out_dir: Path) -> None:
    """Delete what only a training that goes on, or that chooses its best epoch, needs."""
    for name in ("checkpoints", FOLDER):
        shutil.rmtree(out_dir / name, ignore_errors=True)


def _batch_size(
    module: TrainedModel,
    data: Data,
    budget: Budget,
    trainer: pl.Trainer,
    earlier: Earlier | None,
    name: str,
) -> int:
    """Return how many rows are computed at once; the trainer accumulates the rest of a step."""
    optim = module.optim
    if optim.batch_size != "auto":
        return optim.batch_size
    if earlier is not None:
        found = int(earlier[1]["batch_size"])
    else:
        mixed, device = mixed_precision(budget.trainer), trainer.strategy.root_device
        with _in_memory(module, name, 1, data):
            found = fitting_rows(module, data.train, optim.rows, device, mixed)
    parts = optim.rows // found
    log.info(
        "%s: %d rows fit the memory at once%s",
        name, found, f", {parts} times for a step of {optim.rows}" if parts > 1 else "",
    )  # fmt: skip
    trainer.accumulate_grad_batches *= parts
    if isinstance(trainer.limit_train_batches, int):
        trainer.limit_train_batches *= parts
    return found


def _in_memory(
    module: TrainedModel, name: str, batch_size: int, data: Data
) -> AbstractContextManager[None]:
    """Return the context in which a training says what it is, and what helps, without memory."""
    group = "teacher" if name == "teacher" else "optim"
    half = [f"task.max_length={data.max_length // 2}"] if data.max_length > 1 else []
    fewer = f"{group}.batch_size=auto"
    if module.optim.batch_size == "auto":
        fewer = "a smaller model" if batch_size == 1 else f"{group}.batch_size={batch_size // 2}"
    length = int(np.max(data.train.lengths, initial=1))
    units = f" of up to {length} tokens" if half else ""
    what = f"training the {name} on {batch_size} rows{units} at once"
    return building(what, fewer, *half, "trainer.precision=bf16-mixed")


def _earlier(
    keeper: Resume | None, files: ProgressFiles, out_dir: Path, name: str
) -> Earlier | None:
    """Return what an earlier try has kept last; without that, what it left is deleted."""
    found = keeper and keeper.prepare(files, name)
    if not found:
        if ranks.rank() == 0:
            forget(out_dir)
        ranks.together()
        return None
    return found


def _go_on(trainer: pl.Trainer, batches: DataLoader[Batch], earlier: Mapping[str, Any]) -> None:
    """Tell batches and loggers where an earlier try stopped."""
    batches.batch_sampler.go_on(earlier["epoch"], earlier["batches"])  # type: ignore[union-attr]
    go_on(trainer.loggers, earlier["marks"])


def _strategy(budget: Budget, module: TrainedModel) -> Any:
    chosen = strategy(budget.trainer)
    plain = chosen in ("ddp", "auto") and ranks.world() > 1  # for these "auto" is "ddp"
    return "ddp_find_unused_parameters_true" if plain and module.idles else chosen


def _load_best(trainer: pl.Trainer, module: TrainedModel) -> None:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    wanted = getattr(trainer.checkpoint_callback, "monitor", None)
    measured = sorted(name for name in trainer.callback_metrics if name.startswith("selection/"))
    if not path and wanted is not None and measured and wanted not in trainer.callback_metrics:
        raise ConfigError(
            f"callbacks.checkpoint.monitor={wanted}: there is no such measurement, so no epoch"
            f" could be chosen (there are {', '.join(measured)})"
        )
    if path:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
