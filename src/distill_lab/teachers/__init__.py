"""Teachers: sources of signals."""

from distill_lab.teachers.base import Source, Teacher
from distill_lab.teachers.cached import SignalPlan
from distill_lab.teachers.ensemble import Ensemble
from distill_lab.teachers.finetuned import FineTuned
from distill_lab.teachers.live import Live
from distill_lab.teachers.unasked import Unasked

__all__ = ["Ensemble", "FineTuned", "Live", "SignalPlan", "Source", "Teacher", "Unasked"]
