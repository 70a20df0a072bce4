"""The bench that a run works at: its store, its budget, its device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from distill_lab.budget import Budget
from distill_lab.optim import AdamW
from distill_lab.store import Store


@dataclass(frozen=True)
class Lab:
    """What the parts of a run share.

    Attributes:
        store: Keeps teachers and baselines for later runs.
        optim: How the student is trained.
        budget: Limits, callbacks and seed of the student's training.
        device: Where models are scored.
        out_dir: The run's own folder.
    """

    store: Store
    optim: AdamW
    budget: Budget
    device: torch.device
    out_dir: Path
