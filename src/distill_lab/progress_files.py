"""How far a training has come, on disk: two checkpoints, of which the newer complete one counts.

When it has ended, what has come of it stands in their place until the run has ended, too.

A checkpoint is written under another name and renamed, then a note beside it tells its checksum and
what it belongs to; without the note it counts for nothing. The one before goes last. So a process
may be killed at any moment.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distill_lab.plain_json import read_json
from distill_lab.store import checksum, write_atomically

log = logging.getLogger(__name__)
FOLDER = "progress"
_KEPT = 2
_UNFINISHED, _FINISHED = "unfinished.tmp", "finished.ckpt"


class ProgressFiles:
    """The checkpoints of one training that has not ended.

    Args:
        folder: Where they lie, alone.
        key: Changes with whatever decides how the training goes; those of another key are ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def load(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest complete checkpoint and its content, None if there is none.

        A damaged one is told, and the one before taken.
        """
        for file in self._noted():
            content = self._content(file)
            if content is not None:
                return file, content
        return None

    def finished(self) -> dict[str, Any] | None:
        """Return what `finish` has kept, None if there is nothing or it is damaged."""
        return self._content(self.folder / _FINISHED)

    def _content(self, file: Path) -> dict[str, Any] | None:
        note = _note(file)
        if note.get("key") != self.key:
            return None
        fault = _fault(file, str(note.get("checksum")))
        if fault:
            log.warning("%s: damaged (%s); the one before is taken, if any", file, fault)
            return None
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return content

    def write(self, step: int, save: Callable[[Path], None], first: bool = True) -> None:
        """Keep a new checkpoint, and the one before.

        Args:
            step: Of the optimizer; larger than that of the one before.
            save: Writes it to the file that it is given; called in every process that trains.
            first: Whether this is the process that writes.
        """
        work = self.folder / _UNFINISHED
        if first:
            self.folder.mkdir(parents=True, exist_ok=True)
        save(work)
        if not first:
            return
        self._put(work, self.folder / f"step-{step:09d}.ckpt")
        _delete(self._noted()[_KEPT:])

    def finish(self, save: Callable[[Path], None]) -> None:
        """Keep what has come of the training, in place of its checkpoints.

        Args:
            save: Writes it to the file that it is given.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        work = self.folder / _UNFINISHED
        save(work)
        self._put(work, self.folder / _FINISHED)
        _delete(self._noted())

    def _put(self, work: Path, file: Path) -> None:
        _to_disk(work)
        note = {"key": self.key, "checksum": checksum(work)}
        work.replace(file)
        write_atomically(_beside(file), json.dumps(note) + "\n")

    def drop_unfinished(self) -> None:
        """Delete what could not be written to its end."""
        (self.folder / _UNFINISHED).unlink(missing_ok=True)

    def _noted(self) -> list[Path]:
        """Return the checkpoints that have a note, the newest first."""
        notes = sorted(self.folder.glob("step-*.json"), reverse=True)
        return [note.with_suffix(".ckpt") for note in notes]


def _delete(files: list[Path]) -> None:
    for file in files:
        _beside(file).unlink()
        file.unlink(missing_ok=True)


def _beside(file: Path) -> Path:
    return file.with_suffix(".json")


def _note(file: Path) -> dict[str, Any]:
    try:
        note = read_json(_beside(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _fault(file: Path, recorded: str) -> str:
    try:
        return "" if checksum(file) == recorded else "its bytes have changed"
    except OSError as error:
        return str(error.strerror)


def _to_disk(file: Path) -> None:
    """Have the system write what it holds of a file, so that a rename never comes before."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
