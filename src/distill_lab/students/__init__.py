"""Students: how they are built and where they start."""

from distill_lab.students.base import Student
from distill_lab.students.layers import Layers
from distill_lab.students.pretrained import Pretrained
from distill_lab.students.quantised import Quantised
from distill_lab.students.scratch import Scratch

__all__ = ["Layers", "Pretrained", "Quantised", "Scratch", "Student"]
