"""What jobs have when they begin: imported by the process that they are forked from."""

from __future__ import annotations

import gc

import pydantic  # noqa: F401 - checks values
from hydra.core.plugins import Plugins

from distill_lab.quiet import quiet_torchao

quiet_torchao()
import distill_lab.hydra_entry  # noqa: E402
import distill_lab.results.show  # noqa: E402
import distill_lab.run  # noqa: E402, F401

Plugins.instance()  # looks through all packages for them
# What is here stays; jobs need not look through it for garbage, which would also copy it.
gc.collect()
gc.freeze()
