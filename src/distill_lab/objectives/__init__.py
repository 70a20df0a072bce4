"""Objectives: one file each, a pure function and a thin class; the yaml names the class."""

from distill_lab.objectives.base import Objective

__all__ = ["Objective"]
