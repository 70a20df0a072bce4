"""Where the files of a task lie."""

from __future__ import annotations

from pathlib import Path

from distill_lab.errors import ConfigError
from distill_lab.folders import leads_out


def inside(folder: Path, name: str, key: str) -> Path:
    """Return a file or folder inside another.

    Args:
        folder: The other.
        name: Of the file, from a configuration that may come from elsewhere.
        key: Configuration key that gave it, for the error.

    Raises:
        ConfigError: If the name leads out.
    """
    if leads_out(name):
        raise ConfigError(f"{key}={name}: a name inside {folder} is needed, not a way out of it")
    return folder / name
