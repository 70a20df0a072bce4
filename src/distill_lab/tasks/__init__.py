"""Data and metrics of the tasks."""

from distill_lab.tasks.augment import Augment
from distill_lab.tasks.base import Task
from distill_lab.tasks.causal_lm import CausalLM
from distill_lab.tasks.data import Data
from distill_lab.tasks.domain import Domain
from distill_lab.tasks.glue import Glue
from distill_lab.tasks.images import Images
from distill_lab.tasks.instruction import Instruction
from distill_lab.tasks.masked_lm import MaskedLM
from distill_lab.tasks.squad import Squad
from distill_lab.tasks.stdlib_docs import StdlibDocs
from distill_lab.tasks.sums import Sums
from distill_lab.tasks.text import TextTask
from distill_lab.tasks.text_files import TextFiles

__all__ = [
    "Augment",
    "CausalLM",
    "Data",
    "Domain",
    "Glue",
    "Images",
    "Instruction",
    "MaskedLM",
    "Squad",
    "StdlibDocs",
    "Sums",
    "Task",
    "TextFiles",
    "TextTask",
]
