"""LightningModules: fine-tuning on labels, distillation from a teacher."""

from distill_lab.modules.distillation import Distillation
from distill_lab.modules.finetuning import FineTuning

__all__ = ["Distillation", "FineTuning"]
