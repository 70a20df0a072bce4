"""Which classes a configuration may name: a file that comes from elsewhere must not run anything.

Building a class is calling it, and importing its module runs that, so a name is looked at before
either.
"""

from __future__ import annotations

import inspect
import os
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

VARIABLE = "DISTILL_LAB_TRUST"
"""Environment variable that names further packages, divided by commas; no file can set it."""

_OWN = "distill_lab"
_PACKAGES = {
    _OWN, "torch", "pytorch_lightning", "lightning", "lightning_fabric", "transformers",
    "torchmetrics", "optuna",
}  # fmt: skip


def distrust(target: str) -> str:
    """Return why a name must not be imported; empty where it may be.

    Args:
        target: Of a `_target_`.
    """
    root = str(target).partition(".")[0]
    if root in _PACKAGES or root in _named() or _lies_here(root):
        return ""
    return (
        f"{target!r} is of a package that configurations may not name by themselves; a class of"
        f" your own lies in the working folder, or its package is named: {VARIABLE}={root}"
    )


def distrust_object(target: str, found: Any) -> str:
    """Return why what a name stands for must not be built; empty where it may be.

    A module of a trusted package has others among its names, and functions that load and run files.

    Args:
        target: Of a `_target_`, in a package that is trusted.
        found: What it stands for.
    """
    root = target.partition(".")[0]
    if root not in _PACKAGES or root in _named():
        return ""
    home = str(getattr(found, "__module__", "")).partition(".")[0]
    if home not in _PACKAGES:
        return f"{target!r} is a name for something of {home or 'no module'}; name it as it is"
    if root != _OWN and not inspect.isclass(found):
        return f"{target!r} is no class; of this package, configurations may name classes alone"
    return ""


def _named() -> set[str]:
    return {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}


def _lies_here(root: str) -> bool:
    """Whether a module lies in the working folder; nothing is imported to find out."""
    try:
        spec = PathFinder.find_spec(root)
    except (ImportError, ValueError):
        return False
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    here = Path.cwd().resolve()
    folders = {Path(place).resolve() for place in places if place}
    inside = [f for f in folders if f.is_relative_to(here)]
    # An environment in the working folder holds what others have written.
    return bool(inside) and not any("site-packages" in folder.parts for folder in folders)
