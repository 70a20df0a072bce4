"""How a model is trained: optimizer, schedule, batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from distill_lab.errors import refuse
from distill_lab.schedules import stage_at, stage_ends

_AUTO = 32


@dataclass(frozen=True)
class AdamW:
    """AdamW with warm-up and a schedule; no decay on biases and norms.

    Decoupled weight decay as in Loshchilov and Hutter 2019 (arXiv 1711.05101).

    Attributes:
        lr: Peak learning rate.
        batch_size: Rows of an optimizer step on one device; "auto" for 32, of which as many are
            computed at once as the memory allows.
        weight_decay: Decay of the weight matrices.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        warmup: Share of all steps in which the rate rises from 0.
        schedule: How the rate falls after that.

    Raises:
        ConfigError: If a value is out of its range.
    """

    lr: float
    batch_size: int | Literal["auto"] = 32
    weight_decay: float = 0.01
    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup: float = 0.1
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"

    def __post_init__(self) -> None:
        two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        refuse({
            f"optim.lr={self.lr}: the learning rate must be above 0": not self.lr > 0,
            f"optim.batch_size={self.batch_size}: at least 1 row is needed": self.rows < 1,
            f"optim.warmup={self.warmup}: a share of the steps, 0 to 1": not 0 <= self.warmup <= 1,
            f"optim.weight_decay={self.weight_decay}: must not be negative": self.weight_decay < 0,
            f"optim.betas={list(self.betas)}: two numbers from 0 to below 1": not two,
            f"optim.eps={self.eps}: must not be negative": not self.eps >= 0,
        })  # fmt: skip

    @property
    def rows(self) -> int:
        """Rows of an optimizer step on one device, however many are computed at once."""
        return _AUTO if self.batch_size == "auto" else self.batch_size

    def configure(
        self, module: nn.Module, total_steps: int, stages: Sequence[float] = (1.0,)
    ) -> dict[str, Any]:
        """Return what Lightning's `configure_optimizers` returns.

        Args:
            module: Its parameters that require a gradient are trained.
            total_steps: Optimizer steps of the whole training.
            stages: Shares of the steps, each of which has its own warm-up and decay.
        """
        optimizer = torch.optim.AdamW(
            self._groups(module),
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            eps=self.eps,
            fused=True,
        )
        # A fused optimizer offers to undo the scaling of float16 itself, and Lightning then refuses
        # to clip gradients, in bfloat16 too; without the offer the scaler does it, before clipping.
        optimizer._step_supports_amp_scaling = False
        scheduler = LambdaLR(optimizer, self._factor(total_steps, stages))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _factor(self, total_steps: int, stages: Sequence[float]) -> Callable[[int], float]:
        """Return the part of the peak rate at each step."""
        ends = stage_ends(total_steps, stages)
        starts = [0, *ends[:-1]]
        parts = [self._curve(end - start) for start, end in zip(starts, ends, strict=True)]

        def factor(step: int) -> float:
            stage = stage_at(step, ends)
            return parts[stage](step - starts[stage])

        return factor

    def _curve(self, steps: int) -> Callable[[int], float]:
        idle = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        made: LambdaLR = get_scheduler(self.schedule, idle, round(self.warmup * steps), steps)
        curve: Callable[[int], float] = made.lr_lambdas[0]
        return curve

    def _groups(self, module: nn.Module) -> list[dict[str, Any]]:
        trained = [p for p in module.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
