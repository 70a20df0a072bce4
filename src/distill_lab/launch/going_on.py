"""Where a line that is typed again goes on: in the folder of its run that did not end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from distill_lab.errors import ConfigError
from distill_lab.launch.folder_lock import busy, is_further_rank
from distill_lab.launch.jobs import RESULT_FILE, TYPED, own, quoted, typed_in, without_launching
from distill_lab.results.run_folder import RUNS, what_there_is

_KEY = "resume="
_DEEPEST = 3  # folders below it, for a study may be named `group/part`
_BY_TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d{6}")


def going_on(arguments: Sequence[str]) -> list[str]:
    """Return a line of one run with the folder in which it goes on, if there is one.

    `resume=RUN` stands for all that was typed for that run. Without it, the same overrides find
    their run below `runs/`, if it has not ended and nobody works in it.

    Args:
        arguments: Overrides and flags, without `-m`.

    Raises:
        ConfigError: If `resume=` names no run that can go on.
    """
    named = [a for a in arguments if a.startswith(_KEY)]
    if named:
        rest = [a for a in arguments if a not in named]
        folder = Path(named[-1].removeprefix(_KEY).strip("'\""))
        return [*rest, *_of(folder, [a for a in rest if not a.startswith("-")]), _place(folder)]
    overrides = [a for a in arguments if not a.startswith("-")]
    if is_further_rank() or any(_placed(a) for a in overrides):
        return list(arguments)
    wanted = sorted(own(without_launching(overrides)))
    found = [folder for folder in _unfinished() if _typed(folder) == wanted and not busy(folder)]
    return [*arguments, _place(max(found))] if found else list(arguments)


def _of(folder: Path, typed: Sequence[str]) -> list[str]:
    before = _typed(folder)
    if not folder.is_dir():
        raise ConfigError(f"resume={folder}: there is no such run{what_there_is(folder)}")
    if before is None:
        raise ConfigError(f"resume={folder}: not the folder of a run (it has no {TYPED})")
    if (folder / RESULT_FILE).is_file():
        raise ConfigError(f"resume={folder}: the run is finished; there is nothing to go on with")
    if typed:
        raise ConfigError(
            f"resume={folder}: stands for all that was typed for that run; leave out"
            f" {' '.join(typed)}"
        )
    return before


def _place(folder: Path) -> str:
    return f"hydra.run.dir={quoted(folder)}"


def _placed(argument: str) -> bool:
    return argument.lstrip("+~").startswith("hydra.run.dir=")


def _unfinished() -> Iterator[Path]:
    """Give the folders of single runs, which are named by their time, that have no result."""
    for depth in range(1, _DEEPEST + 1):
        for folder in RUNS.glob("/".join("*" * depth)):
            if _BY_TIME.fullmatch(folder.name) and not (folder / RESULT_FILE).is_file():
                yield folder


def _typed(folder: Path) -> list[str] | None:
    try:
        return typed_in(folder)
    except (OSError, ValueError, yaml.YAMLError):  # a damaged file is that of no run
        return None
