"""Which layer of the teacher teaches the student's last one."""

from __future__ import annotations

from distill_lab.errors import ConfigError
from distill_lab.types import Fit


def check_layer(fit: Fit, teacher_layer: int | None) -> tuple[int, int]:
    """Return the student's last layer and the teacher's chosen one, counted from 1.

    Args:
        fit: Tells both configurations.
        teacher_layer: The choice; None is the last.

    Raises:
        ConfigError: If the teacher has not this layer.
    """
    total = fit.teacher.num_hidden_layers
    chosen = total if teacher_layer is None else teacher_layer
    if not 1 <= chosen <= total:
        raise ConfigError(f"objective.teacher_layer={chosen}: the teacher has layers 1 to {total}")
    return fit.student.num_hidden_layers, chosen
