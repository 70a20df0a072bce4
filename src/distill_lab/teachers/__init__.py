"""Teachers: sources of signals."""

from distill_lab.teachers.finetuned import FineTuned
from distill_lab.teachers.live import Live

__all__ = ["FineTuned", "Live"]
