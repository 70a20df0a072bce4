"""The store: costly things kept in folders named by a fingerprint of what determines them.

Whoever takes an entry first reads all of it against its checksums: a byte that the disk has flipped
changes no date, so remembering what was read before would miss it. That is affordable because the
checksum is XXH3 (128 bits), some nine times as fast as SHA-256 with the processor's own
instructions: 10 GB keep it busy for 0.6 s, not 6 (benchmarks/checksums.md). It guards against
accidents, not against somebody who can write to the store, and who could write the checksum as
well.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from distill_lab.disk import saving
from distill_lab.folders import discard, locked, sweep, temporary, unfinished
from distill_lab.plain_json import read_json

log = logging.getLogger(__name__)
_ENTRY = "entry.json"
_FAST = "xxh3:"  # before a checksum; those without are SHA-256


def digest(ingredients: Any) -> str:
    """Return a 16-digit fingerprint of plain data: equal data, equal digits."""
    plain = json.loads(json.dumps(ingredients))  # as it is read again: keys are words
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, which tells one file from another."""
    return _hash(path, hashlib.sha256())


def checksum(path: Path) -> str:
    """Return a fast checksum of a file's bytes, which tells whether they have changed."""
    return _FAST + _hash(path, xxhash.xxh3_128())


def _hash(path: Path, state: Any) -> str:
    block = memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            state.update(block[:count])
    return str(state.hexdigest())


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
        self,
        kind: str,
        ingredients: Any,
        make: Callable[[Path], None],
        about: str = "",
        size: int = 0,
        resumable: bool = False,
    ) -> tuple[Path, bool]:
        """Return an entry, making it first when it is not there.

        One process makes it while others wait for the lock; it appears under its name only when
        it is complete. An entry that is there needs no lock, so that many read it at once, also
        where they may not write.

        Args:
            kind: First folder below the root, for example "teachers".
            ingredients: Plain data that determine the content.
            make: Writes the content into the empty folder that it is given.
            about: What it is, for people.
            size: Bytes that it will take, where they are known.
            resumable: Whether `make` goes on from what a try that was ended has left in the folder;
                it then finds that folder again.

        Returns:
            The folder, and whether it was found rather than made.

        Raises:
            DiskError: If the disk is full, or the store may not be written to; the store is as it
                was.
        """
        path = self.path(kind, ingredients)
        with saving(self.root, "store_dir"):
            if path.is_dir() and not damage(path):
                return path, True
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path):
                found = self.find(kind, ingredients)
                if not found:
                    sweep(path)
                    with saving(self.root, "store_dir", size):
                        self._make(path, make, ingredients, about, resumable)
        return path, found is not None

    def _make(
        self,
        path: Path,
        make: Callable[[Path], None],
        ingredients: Any,
        about: str,
        resumable: bool,
    ) -> None:
        work = unfinished(path) if resumable else temporary(path)
        work.mkdir(exist_ok=resumable)
        try:
            make(work)
            _seal(work, path.parent.name, ingredients, about)
            discard(path)
            work.rename(path)
        except (KeyboardInterrupt, SystemExit):
            if not resumable:
                shutil.rmtree(work, ignore_errors=True)
            raise
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of an entry by name; hidden ones, as file managers leave them, are none."""
    return {
        name: path
        for path in sorted(folder.rglob("*"))
        if (name := path.relative_to(folder).as_posix()) != _ENTRY
        and not path.name.startswith(".")
        and path.is_file()
    }


def _seal(folder: Path, kind: str, ingredients: Any, about: str) -> None:
    entry = {
        "kind": kind,
        "about": about,
        "ingredients": ingredients,
        "files": {name: checksum(path) for name, path in _files(folder).items()},
    }
    write_atomically(folder / _ENTRY, json.dumps(entry, indent=2) + "\n")


def damage(folder: Path) -> str:
    """Return what is wrong with an entry, file by file, or an empty string."""
    try:
        entry = read_json((folder / _ENTRY).read_text(encoding="utf-8"))
        recorded: dict[str, Any] = dict(entry["files"])
        named = (entry["kind"], digest(entry["ingredients"]))
    except (OSError, ValueError, KeyError, TypeError):
        return f"{_ENTRY} is missing or unreadable"
    if named != (folder.parent.name, folder.name):
        return f"{_ENTRY} has changed"
    there = _files(folder)
    faults = [f"{name} is missing" for name in recorded if name not in there]
    for name, path in there.items():
        fault = _fault(path, recorded[name]) if name in recorded else "was added"
        faults += [f"{name} {fault}"] if fault else []
    return ", ".join(faults)


def _fault(path: Path, recorded: Any) -> str:
    fast = str(recorded).startswith(_FAST)
    try:
        same = recorded == (checksum(path) if fast else file_digest(path))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if same else "has changed"
