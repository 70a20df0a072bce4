"""A teacher that has written what is learned, and is not asked for more."""

from __future__ import annotations

from pathlib import Path

import torch

from distill_lab.lab import Lab
from distill_lab.teachers.base import Source
from distill_lab.teachers.cached import SignalPlan
from distill_lab.types import Batch, Outputs, TeacherSource, Wanted


class Unasked(SignalPlan):
    """A plan of signals for an objective that needs none."""

    def check(self) -> None:
        """Refuse nothing: nothing is kept."""

    def source(self, teacher: Source, lab: Lab) -> TeacherSource:
        """Return a source of no signals; the teacher's network is released."""
        teacher.release()
        return _Silent()

    def foreseen(self, teacher: str | None, lab: Lab) -> tuple[Path, bool] | None:
        """Return None: nothing is kept."""
        return None


class _Silent:
    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Return logits of no class."""
        return Outputs(torch.empty(len(batch.labels), 0, device=batch.labels.device))
