"""Training a module by Lightning, the same way for teacher, student and baseline."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from distill_lab import ranks
from distill_lab.better import sign
from distill_lab.budget import Budget
from distill_lab.config import build
from distill_lab.meter import Cost, Meter
from distill_lab.modules.base import TrainedModel
from distill_lab.tasks import Data
from distill_lab.tasks.batching import scoring_batches, training_batches
from distill_lab.under_lightning import Unwatched, interruptible, memory_unfilled, quiet


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
        module.role, module.rows, module.selection = name, data.train, data.selection
        module.some_unlabelled = data.train.labelled() is not data.train
        accumulate = trainer.accumulate_grad_batches
        device = trainer.strategy.root_device
        if device.type == "cuda" and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)
        module.train()  # transformers loads in evaluation mode, and Lightning leaves it so
        started = time.perf_counter()
        with interruptible(trainer):
            trainer.fit(
                module,
                training_batches(data.train, batch_size, budget.seed, accumulate, rank, world),
                scoring_batches(data.selection, 4 * batch_size, rank, world),
            )
        _load_best(trainer, module)
        module.float()  # which a precision such as bf16-true has changed in place
    examples = sum(ranks.gathered(meter.examples))
    return Cost(
        round(time.perf_counter() - started, 3),
        examples,
        round(examples / max(meter.seconds, 1e-9), 2),
        _peak_memory_mb(device),
        meter.best_epoch,
        meter.sign * meter.best if meter.best_epoch else None,
    )


def _strategy(budget: Budget, module: TrainedModel) -> Any:
    chosen = budget.trainer.get("strategy", "auto")
    plain = chosen in ("ddp", "auto") and ranks.world() > 1  # for these "auto" is "ddp"
    return "ddp_find_unused_parameters_true" if plain and module.idles else chosen


def _load_best(trainer: pl.Trainer, module: TrainedModel) -> None:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if path:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
