"""The store: costly things kept in folders named by a fingerprint of what determines them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)
_ENTRY = "entry.json"


def digest(ingredients: Any) -> str:
    """Return a 16-digit fingerprint of plain data: equal data, equal digits."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return _hash(file)


def _hash(file: Any) -> str:
    state = hashlib.sha256()
    while block := file.read(1 << 20):
        state.update(block)
    return state.hexdigest()


def in_bytes(count: float) -> str:
    """Return a number of bytes as people write it, in units of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Store:
    """Entries of several kinds under one folder, each complete and checksummed or absent.

    Args:
        root: Folder of the store; made when the first entry is written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def path(self, kind: str, ingredients: Any) -> Path:
        """Return where the entry of these ingredients lies or would lie."""
        return self.root / kind / digest(ingredients)

    def find(self, kind: str, ingredients: Any) -> Path | None:
        """Return the folder of a complete and undamaged entry, else None."""
        path = self.path(kind, ingredients)
        if not path.is_dir():
            return None
        fault = damage(path)
        if fault:
            log.warning("store: %s is damaged (%s); it will be made again", path, fault)
            return None
        return path

    def get(
        self, kind: str, ingredients: Any, make: Callable[[Path], None], about: str = ""
    ) -> tuple[Path, bool]:
        """Return an entry, making it first when it is not there.

        One process makes it while others wait for the lock; it appears under its name only when
        it is complete.

        Args:
            kind: First folder below the root, for example "teachers".
            ingredients: Plain data that determine the content.
            make: Writes the content into the empty folder that it is given.
            about: What it is, for people.

        Returns:
            The folder, and whether it was found rather than made.
        """
        path = self.path(kind, ingredients)
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            found = self.find(kind, ingredients)
            if found:
                return found, True
            for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            work = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
            work.mkdir()
            try:
                make(work)
                _seal(work, kind, ingredients, about)
                shutil.rmtree(path, ignore_errors=True)
                work.rename(path)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return path, False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of an entry; say so when another process has it."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("store: waiting for another process that makes %s", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _ENTRY)


def _seal(folder: Path, kind: str, ingredients: Any, about: str) -> None:
    entry = {
        "kind": kind,
        "about": about,
        "ingredients": ingredients,
        "files": {str(p.relative_to(folder)): file_digest(p) for p in _files(folder)},
    }
    write_atomically(folder / _ENTRY, json.dumps(entry, indent=2) + "\n")


def damage(folder: Path) -> str:
    """Return what is wrong with an entry, or an empty string."""
    try:
        recorded = json.loads((folder / _ENTRY).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{_ENTRY} is missing or unreadable"
    for name, expected in recorded.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_digest(path) != expected:
            return f"{name} has changed"
    return ""
