"""Objectives: one file each, a pure function and a thin class."""

from distill_lab.objectives.base import Objective
from distill_lab.objectives.hinton import Hinton

__all__ = ["Hinton", "Objective"]
