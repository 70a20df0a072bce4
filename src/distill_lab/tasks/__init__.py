"""Data and metrics of the tasks."""

from distill_lab.tasks.base import Data, TextTask
from distill_lab.tasks.glue import Glue
from distill_lab.tasks.stdlib_docs import StdlibDocs
from distill_lab.tasks.text_files import TextFiles

__all__ = ["Data", "Glue", "StdlibDocs", "TextFiles", "TextTask"]
