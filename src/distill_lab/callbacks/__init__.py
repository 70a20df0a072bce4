"""Callbacks of the lab."""

from distill_lab.callbacks.compiled import Compiled
from distill_lab.callbacks.distillation import DistillationLoss
from distill_lab.callbacks.progress import Progress
from distill_lab.callbacks.pruning import Pruned, Pruning
from distill_lab.callbacks.resume import Resume, Stopped
from distill_lab.finite import Finite

__all__ = [
    "Compiled",
    "DistillationLoss",
    "Finite",
    "Progress",
    "Pruned",
    "Pruning",
    "Resume",
    "Stopped",
]
