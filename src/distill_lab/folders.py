"""Folders of the store: found by name, locked, put aside, swept."""

from __future__ import annotations

import logging
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)
_NAME = re.compile(r"[0-9a-f]{16}")
_LEFT = re.compile(r"\.([0-9a-f]{16})\.[0-9a-f]{8}\.tmp")


def leads_out(name: str) -> bool:
    """Whether a name, below whatever folder, may lead to a place outside of it."""
    path = Path(name)
    return path.is_absolute() or ".." in path.parts


def entry_folders(root: Path) -> list[Path]:
    """Return the folders of all entries below a store, damaged ones too."""
    return sorted(p for p in root.glob("*/*") if _NAME.fullmatch(p.name) and p.is_dir())


@contextmanager
def locked(path: Path, say: Callable[[str], None] = log.info) -> Iterator[None]:
    """Hold the lock of an entry; say so when another process has it.

    The system lets go of it when its process ends, however that happens; the file stays and means
    nothing.

    Args:
        path: The entry.
        say: Takes the sentence.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"store: waiting for another process that makes {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.name}.lock"))


def discard(path: Path) -> None:
    """Delete an entry, so that it is there as a whole or not at all; its lock is held.

    Who has its files mapped keeps them: the system lets go of a file when nobody uses it any more.
    """
    if path.exists():
        aside = path.rename(temporary(path))
        shutil.rmtree(aside, ignore_errors=True)


def temporary(path: Path) -> Path:
    """Return a new name beside an entry, for what is not yet or no longer one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def unfinished(path: Path) -> Path:
    """Return the name of what a later process goes on with, until it is an entry."""
    return path.with_name(f".{path.name}.unfinished")


def sweep(path: Path) -> None:
    """Delete what killed processes left, of an entry whose lock is held and of those beside it."""
    for left in path.parent.glob(".*.tmp"):
        matched = _LEFT.fullmatch(left.name)
        if matched and matched[1] == path.name:
            shutil.rmtree(left, ignore_errors=True)
        elif matched:
            with suppress(Timeout), _lock(path.with_name(matched[1])).acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
