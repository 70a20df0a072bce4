"""distill_lab: a laboratory for knowledge distillation."""

__version__ = "0.1.0"
