"""The folder of one run, before anything of it is loaded: whether it is one, and what was meant."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from distill_lab.errors import DataError, closest
from distill_lab.results.result import FILE, FINISHED, Result

ORIGIN = "run.json"
"""In an exported folder, the result of the run that it comes from."""
RUNS = Path("runs")
"""Where runs lie, below the working folder."""
_SHOWN = 8  # names that are told


def read_run(folder: Path) -> Result:
    """Return the result of a finished run that has kept its student.

    Raises:
        DataError: If it is none.
    """
    if not os.path.isdir(folder):  # false, too, for a name that no folder can have
        raise DataError(f"{folder}: there is no such run{what_there_is(folder)}")
    if not (folder / FILE).is_file():
        runs = sorted(folder.glob(f"*/{FILE}"))
        hint = f"; its runs are folders below it, such as {runs[0].parent}" if runs else ""
        raise DataError(f"{folder}: not the folder of a finished run (it has no {FILE}){hint}")
    result = Result.read(folder / FILE)
    if result.status != FINISHED:
        raise DataError(f"{folder}: the run was {result.status}; it has no student")
    if not (folder / "student" / "config.json").is_file():
        raise DataError(f"{folder}: the run has no student/ folder; train it again")
    return result


def check_run(folder: Path) -> None:
    """Refuse what is neither the folder of a finished run nor what was exported of one.

    Raises:
        DataError: If so.
    """
    if not is_exported(folder):
        read_run(folder)


def is_exported(folder: Path) -> bool:
    """Whether a folder was exported from a run."""
    return os.path.isfile(folder / ORIGIN)


def what_there_is(path: Path) -> str:
    """Return what was probably meant, or what the nearest folder that is there has; may be empty.

    Args:
        path: Of what is not there; relative names alone are looked for.
    """
    there = next((parent for parent in path.parents if os.path.isdir(parent)), Path())
    missing = path.relative_to(there).parts[:1] if path.is_relative_to(there) else ()
    there = RUNS if there == Path() else there
    if there == Path(there.anchor):  # of the whole machine
        return ""
    names = list[str]()
    with suppress(OSError):  # of which we may not look into
        names = sorted(p.name for p in there.iterdir() if p.is_dir() and p.name[0] != ".")
    if missing and (meant := closest(missing[0], names)):
        return f"; did you mean '{there / meant}'?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; {there} has {', '.join(names[:_SHOWN])}{more}" if names else ""
