"""Ends the training of a trial that a search holds for hopeless."""

from __future__ import annotations

import os

import pytorch_lightning as pl

from distill_lab.modules import Distillation

TRIAL = "DISTILL_LAB_TRIAL"
"""Environment variable by which a search tells a job its trial: `NUMBER@JOURNAL`."""


class Pruned(Exception):
    """A training was ended early by a search; the run has no evaluation."""

    def __init__(self, epoch: int, score: float) -> None:
        self.epoch = epoch
        self.score = score
        super().__init__(f"pruned after epoch {epoch} with a selection score of {score:.4f}")


class Pruning(pl.Callback):
    """Reports the student's selection score of each epoch and stops where the search says so.

    Outside a search it does nothing, and so for teacher and baseline.

    Raises:
        Pruned: From the training, after the epoch that was hopeless.
    """

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report; the last epoch is never pruned, for then nothing is left to be saved."""
        told = os.environ.get(TRIAL)
        if not told or trainer.sanity_checking or not isinstance(pl_module, Distillation):
            return
        epoch = trainer.current_epoch + 1
        score = float(trainer.callback_metrics["selection/score"])
        hopeless = False
        if trainer.is_global_zero:
            from distill_lab.search.journal import report  # Optuna is an extra

            hopeless = report(told, epoch, score)
        hopeless = trainer.strategy.broadcast(hopeless)
        if hopeless and epoch != trainer.max_epochs:
            raise Pruned(epoch, score)
