"""`distill-lab store`: what is kept, how much disk it takes, whether it is undamaged."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from distill_lab.disk import in_bytes, saving
from distill_lab.errors import DataError, did_you_mean
from distill_lab.folders import discard, entry_folders, locked
from distill_lab.plain_json import read_json
from distill_lab.results.figures import number_of
from distill_lab.results.show import console
from distill_lab.store import damage


@dataclass(frozen=True)
class Entry:
    """One folder of the store.

    Attributes:
        path: The folder.
        about: What it is, in words.
        size: Bytes.
        made: Seconds since 1970.
    """

    path: Path
    about: str
    size: int
    made: float

    @property
    def name(self) -> str:
        """Kind and fingerprint, as it is typed."""
        return f"{self.path.parent.name}/{self.path.name}"


def entries(root: Path) -> list[Entry]:
    """Return what a store holds, by kind, the newest first.

    Raises:
        DataError: If the folder is not there.
    """
    if not os.path.isdir(root):
        raise DataError(f"--store-dir={root}: there is no such folder")
    found = [_entry(folder) for folder in entry_folders(root)]
    return sorted(found, key=lambda one: (one.path.parent.name, -one.made))


def show(root: Path) -> None:
    """Print what a store holds.

    Raises:
        DataError: If the folder is not there.
    """
    table = Table("entry", "what", "made", "size", title=str(root), box=box.SIMPLE_HEAD)
    table.title_justify = "left"
    table.columns[-1].justify = "right"
    every = entries(root)
    for one in every:
        table.add_row(one.name, one.about, _ago(time.time() - one.made), in_bytes(one.size))
    table.add_section()
    table.add_row(
        number_of(len(every), "entry", "entries"), "", "", in_bytes(sum(one.size for one in every))
    )
    console().print(table)


def remove(root: Path, names: Sequence[str]) -> None:
    """Delete entries; another process that makes one is waited for.

    A run that reads signals has their files mapped and goes on. One that is still to load a
    deleted teacher, to take a student from it, ends with an error.

    Args:
        root: Folder of the store.
        names: Entries ("teachers/0396371748eec93e"), fingerprints or their beginnings, or kinds
            ("signals") for all of that kind.

    Raises:
        DataError: If a name is that of no entry; nothing is deleted then.
    """
    every = entries(root)
    chosen = {one.path: one for name in names for one in _named(name, every)}
    for one in chosen.values():
        with saving(root, "--store-dir"), locked(one.path, print):
            discard(one.path)
        print(f"deleted {one.name}: {one.about}, {in_bytes(one.size)}")


def verify(root: Path) -> bool:
    """Hold every entry against its checksums; print which files are damaged.

    Returns:
        Whether all are undamaged.

    Raises:
        DataError: If the folder is not there.
    """
    every = entries(root)
    faults = [(one, fault) for one in every if (fault := damage(one.path))]
    for one, fault in faults:
        print(f"{one.name}: {fault}; it is made again when it is needed")
    print(f"{number_of(len(every), 'entry', 'entries')}, {len(faults)} damaged")
    return not faults


def _entry(path: Path) -> Entry:
    file = path / "entry.json"
    try:
        about = read_json(file.read_text(encoding="utf-8")).get("about", "")
    except (OSError, ValueError, AttributeError):
        about = "entry.json is missing or unreadable"
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return Entry(path, about, size, (file if file.is_file() else path).stat().st_mtime)


def _named(name: str, every: Sequence[Entry]) -> list[Entry]:
    name = name.rstrip("/")
    found = [
        one
        for one in every
        if name in (one.name, one.path.parent.name) or (name and one.path.name.startswith(name))
    ]
    if not found:
        known = [*dict.fromkeys(one.path.parent.name for one in every), *(e.name for e in every)]
        raise DataError(
            f"{name}: no entry of the store has this name{did_you_mean(name, known)}; `distill-lab"
            " store ls` lists them"
        )
    return found


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
