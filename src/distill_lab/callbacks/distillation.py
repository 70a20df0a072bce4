"""The distillation loss callback: schedules of T and λ, the terms in the log, warnings."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from distill_lab.modules import Distillation
from distill_lab.objectives.base import check_lam, check_temperature
from distill_lab.schedules import Schedule, scheduled
from distill_lab.types import Batch, Term

log = logging.getLogger(__name__)
_DROWNS = 100.0


class DistillationLoss(pl.Callback):
    """Sets T and λ for each step and logs what the loss is made of.

    Each term is logged raw (`train/soft`: no λ, no T², so that curves of different T can be
    compared) and weighted (`train/soft_weighted`: its part of the loss), with the agreement of
    student and teacher on the batch.

    Args:
        temperature_schedule: How T goes from `objective.temperature` to `temperature_end`.
        temperature_end: T at the last step.
        lam_schedule: How λ goes from `objective.lam` to `lam_end`.
        lam_end: λ at the last step.

    Raises:
        ConfigError: If an end value is out of range.
    """

    def __init__(
        self,
        *,
        temperature_schedule: Schedule = "constant",
        temperature_end: float = 1.0,
        lam_schedule: Schedule = "constant",
        lam_end: float = 0.0,
    ) -> None:
        check_temperature(temperature_end, "callbacks.distillation.temperature_end")
        check_lam(lam_end, "callbacks.distillation.lam_end")
        self.temperature_schedule = temperature_schedule
        self.temperature_end = temperature_end
        self.lam_schedule = lam_schedule
        self.lam_end = lam_end
        self._start: dict[str, float] | None = None
        self._warned = False
        self._logged = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know."""
        return {"logged": self._logged, "warned": self._warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what another process has told."""
        self._logged, self._warned = state_dict["logged"], state_dict["warned"]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set T and λ."""
        if not isinstance(pl_module, Distillation):
            return
        objective = pl_module.objective
        if self._start is None:
            self._start = {name: getattr(objective, name) for name in objective.scheduled}
        last = max(float(trainer.estimated_stepping_batches) - 1, 1.0)
        progress = trainer.global_step / last
        for name, start in self._start.items():
            schedule, end = getattr(self, f"{name}_schedule"), getattr(self, f"{name}_end")
            setattr(objective, name, scheduled(schedule, start, end, progress))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the terms, at the steps at which the trainer logs."""
        if not isinstance(pl_module, Distillation):
            return
        batch = outputs["batch"]
        if batch_idx == 0 and trainer.current_epoch == 0:
            self._warn_of_division(outputs["terms"], batch)
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not every or step % every or step == self._logged:
            return
        self._logged = step
        terms: dict[str, Term] = outputs["terms"]
        values = {"train/loss": outputs["loss"].item() * trainer.accumulate_grad_batches}
        for name, term in terms.items():
            mean = term.mean(batch).item()
            values |= {f"train/{name}": mean, f"train/{name}_weighted": mean * term.weight}
        for name in pl_module.objective.scheduled:
            values[f"train/{name}"] = getattr(pl_module.objective, name)
        values |= _agreement(outputs["student"], outputs["teacher"])
        # Not by `log_dict`, which repeats the last value of a term that is no longer there.
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=step - 1)
        self._warn(terms, batch)

    def _warn_of_division(self, terms: dict[str, Term], batch: Batch) -> None:
        """Say that an objective which compares rows sees those of one batch alone."""
        relational = [name for name, term in terms.items() if term.unit in ("batch", "row_pairs")]
        if relational and batch.per_step:
            log.warning(
                "the term '%s' compares the rows of a batch with each other: with gradient"
                " accumulation or several processes it sees a part of the step's rows at a time,"
                " and is not what it would be on all of them", relational[0],
            )  # fmt: skip

    def _warn(self, terms: dict[str, Term], batch: Batch) -> None:
        parts = {
            name: abs(term.mean(batch).detach().item() * term.weight)
            for name, term in terms.items()
            if term.weight > 0
        }
        if self._warned or len(parts) < 2:
            return
        large, small = max(parts, key=parts.__getitem__), min(parts, key=parts.__getitem__)
        if parts[large] > _DROWNS * parts[small]:
            self._warned = True
            log.warning(
                "the term '%s' (%.3g) is more than %.0f times the term '%s' (%.3g): the smaller"
                " one teaches next to nothing; look at lam, the temperature or the weights, or for"
                " a soft term at a teacher that answers all rows alike",
                large, parts[large], _DROWNS, small, parts[small],
            )  # fmt: skip


def _agreement(student: Tensor, teacher: Tensor) -> dict[str, float]:
    """Return how far two models agree, by name.

    Args:
        student: Logits `[rows, labels]`.
        teacher: Logits, or the classes that it answers `[rows]`; of no class where it is not
            asked.
    """
    if teacher.numel() == 0:
        return {}
    if student.shape[1] == 1:
        return {"train/teacher_distance": (student - teacher).abs().mean().item()}
    same = student.argmax(dim=1) == (teacher if teacher.dim() == 1 else teacher.argmax(dim=1))
    return {"train/agreement": same.to(torch.float32).mean().item()}
