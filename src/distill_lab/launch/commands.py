"""A job of a cluster is a command on some machine that sees the same folders.

These are the working folder, the store and the data. What the command would write to a terminal
goes to `console.log` of its folder.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.launch.folder_lock import settled
from distill_lab.launch.jobs import CONSOLE_FILE, Job


def run_command(
    arguments: Sequence[str],
    folder: str,
    output: str,
    since: float,
    environment: Mapping[str, str] | None = None,
    look: bool = True,
) -> int:
    """Run a job as a command, on whatever machine this is.

    Args:
        arguments: What follows `distill-lab train`.
        folder: The working folder.
        output: File of the job's folder that takes what would go to the terminal.
        since: When the job was not done yet, in seconds of `time.time`.
        environment: Variables that are added.
        look: Whether another process may work in the job's folder; False where it is one that
            trains together with this one.

    Returns:
        The exit code; negative where a signal ended it, `BUSY` where another process works in the
        job's folder.
    """
    place = Path(folder, output)
    settled_by = settled(place.parent, since) if look else None
    if settled_by is not None:
        return settled_by
    place.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "distill_lab", "train", *arguments]
    with place.open("w", encoding="utf-8") as file:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False,
            env={**os.environ, **(environment or {})},
        ).returncode  # fmt: skip


def given(job: Job) -> tuple[list[str], str, str, float]:
    """Return what `run_command` takes for a job of this working folder."""
    return job.arguments, os.getcwd(), str(job.folder / CONSOLE_FILE), job.since


def library(name: str, launcher: str) -> Any:
    """Import what a launcher needs.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"hydra/launcher={launcher}: {name} is not installed;"
            f" pip install 'distill-lab[{launcher}]'"
        ) from error
