"""What jobs have when they begin: imported by the process that they are forked from."""

from __future__ import annotations

import gc

import pydantic  # noqa: F401 - checks values
from hydra.core.plugins import Plugins

import distill_lab.hydra_entry
import distill_lab.results.show
import distill_lab.run  # noqa: F401

Plugins.instance()  # looks through all packages for them
# What is here stays; jobs need not look through it for garbage, which would also copy it.
gc.collect()
gc.freeze()
