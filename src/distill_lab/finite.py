"""Stops a training, or leaves out a step, whose loss or gradient is not finite."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from distill_lab.errors import ConfigError, TrainingError
from distill_lab.sharding import whole_norm
from distill_lab.types import Batch

log = logging.getLogger(__name__)
_SHOWN = 8  # row ids in a message


@dataclass
class Seen:
    """What one optimizer step was computed from.

    Attributes:
        step: Its number, from 1.
        rows: Ids of its rows.
        terms: Sums of its terms, by name, for each of its batches.
        norm: Of its gradient, where it is computed.
    """

    step: int = 0
    rows: list[Tensor] = field(default_factory=list)
    terms: list[Mapping[str, Tensor]] = field(default_factory=list)
    norm: Tensor | None = None

    def fault(self) -> str:
        """Return what is not finite; empty where all is."""
        if self.norm is None or math.isfinite(float(self.norm)):
            return ""
        odd = {
            name: float(total)
            for terms in self.terms
            for name, total in terms.items()
            if not math.isfinite(float(total))
        }
        named = ", ".join(f"the term '{name}' is {value:g}" for name, value in odd.items())
        ids = torch.cat(self.rows).tolist() if self.rows else []
        more = ", ..." if len(ids) > _SHOWN else ""
        rows = ", ".join(map(str, ids[:_SHOWN])) + more
        what = named or f"all terms are finite, but the gradient's norm is {float(self.norm):g}"
        return f"step {self.step}: {what}; rows {rows}"


class Finite(pl.Callback):
    """Looks at the norm of each step's gradient, which clipping computes anyway.

    On an accelerator a step is looked at when the next one has been computed, so that the device
    does not wait; with `action=skip` it waits. Under 16-mixed, where gradients that overflow belong
    to finding the scale, nothing is looked at; nor under DeepSpeed, which clips in its own way.

    Args:
        action: "stop" ends the training with a message; "skip" leaves the step out, tells
            and counts it, and stops after `most` in a row.
        most: Steps left out in a row after which a training stops.

    Raises:
        ConfigError: If `most` is not above 0.
    """

    def __init__(self, *, action: Literal["stop", "skip"] = "stop", most: int = 20) -> None:
        if most < 1:
            raise ConfigError(f"callbacks.finite.most={most}: at least 1")
        self.action = action
        self.most = most
        self.skipped = 0
        self._in_a_row = 0
        self._now = Seen()
        self._last: Seen | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what another process has counted."""
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def note(self, batch: Batch, terms: Mapping[str, Tensor]) -> None:
        """Remember a batch of the step that is being computed.

        Args:
            batch: Its rows.
            terms: Sums of its terms, without a gradient.
        """
        self._now.rows.append(batch.ids)
        self._now.terms.append(terms)

    def clip(self, trainer: pl.Trainer, optimizer: torch.optim.Optimizer, most: float) -> None:
        """Look at the gradient's norm, and clip it.

        Args:
            trainer: Knows the step.
            optimizer: Whose gradients.
            most: The largest norm; 0 for any.

        Raises:
            TrainingError: If it is not finite, and the training is not to go on.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = whole_norm(torch.nn.utils.get_total_norm(grads))
        if most > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
        now, self._now = self._now, Seen()
        now.step, now.norm = trainer.global_step + 1, norm
        if self.action == "skip":
            self._leave_out(now, parameters)
            return
        if norm.device.type == "cpu":
            self._refuse(now)
            return
        before, self._last = self._last, now
        if before is not None:
            self._refuse(before)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the last step, and tell how many were left out."""
        if self._last is not None:
            self._refuse(self._last)
        if self.skipped:
            log.warning("%d steps were left out, their gradients were not finite", self.skipped)

    def _refuse(self, seen: Seen) -> None:
        fault = seen.fault()
        if fault:
            raise TrainingError(
                f"{fault}; a smaller learning rate, trainer.precision=32-true or"
                " callbacks.finite.action=skip may help"
            )

    def _leave_out(self, seen: Seen, parameters: list[torch.nn.Parameter]) -> None:
        fault = seen.fault()
        if not fault:
            self._in_a_row = 0
            return
        self.skipped += 1
        self._in_a_row += 1
        log.warning("%s: left out", fault)
        for parameter in parameters:
            parameter.grad = None  # of which an optimizer takes no step
        if self._in_a_row >= self.most:
            raise TrainingError(f"{fault}; the last {self.most} steps were all like that")
