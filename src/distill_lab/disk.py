"""A disk that is full or closed to writing, told in one sentence."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill_lab.errors import DiskError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ELOOP,
}  # fmt: skip
_SHOWN = 200  # letters of a name that is too long
_IN_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors and tokenizers tell of the disk


def in_bytes(count: float) -> str:
    """Return a number of bytes as people write it, in units of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk of a folder that may yet have to be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextmanager
def saving(folder: Path, key: str, needed: int = 0) -> Iterator[None]:
    """Turn what the disk refuses into an error of use.

    Args:
        folder: What is written.
        key: The configuration key that names another folder; empty where none can be named.
        needed: Bytes that will be written, where they are known.

    Raises:
        DiskError: If the disk is full, even before the first byte where more is needed than is
            free, or if the folder may not be written to.
    """
    if needed and needed > free_bytes(folder):
        raise DiskError(_full(folder, _another(key), needed))
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        refused = refusal(error, folder, key, needed)
        if refused is None:
            raise
        raise refused from error


def refusal(error: Exception, folder: Path | None, key: str, needed: int = 0) -> DiskError | None:
    """Return what the disk refused, in words; None for any other error.

    Args:
        error: Of the system or of a library.
        folder: What was written; permissions are told of this folder only, for a file elsewhere was
            to be read. None where files were only written.
        key: The configuration key that names another folder.
        needed: Bytes that were to be written, 0 if they are not known.
    """
    for cause in _chain(error):
        number, file = _told(cause)
        ours = folder is None or file is None or _within(file, folder)
        # A file elsewhere is a temporary one of a library, which the key does not move.
        other = _another(key) if ours else ""
        where = folder if folder is not None and ours else file and file.parent
        if number in _FULL:
            return DiskError(_full(where, other, needed))
        if number == errno.EFBIG:
            return DiskError(
                f"{where or key}: {os.strerror(number)}; raise the limit of `ulimit -f`{other}"
            )
        if number == errno.ENAMETOOLONG and ours:
            return DiskError(
                f"{str(where or key)[:_SHOWN]}…: the name is too long for a file{other}"
            )
        if number in _CLOSED and file is not None and ours:
            return DiskError(
                f"{where}: cannot be written, {os.strerror(number)}: {file}; let it be written"
                f" to{other}"
            )
    return None


def _full(folder: Path | None, other: str, needed: int) -> str:
    told = [f"{in_bytes(needed)} are needed"] if needed else []
    told += [f"{in_bytes(free_bytes(folder))} are free now"] if folder else []
    subject = f"{folder}: the disk is full ({', '.join(told)})" if folder else "the disk is full"
    return f"{subject}; free some space{other}"


def _another(key: str) -> str:
    return f", or name another folder with {key}=" if key else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _told(error: BaseException) -> tuple[int, Path | None]:
    """Return the system's number for an error, 0 for none, and the file that it names."""
    if isinstance(error, OSError):
        file = error.filename2 or error.filename  # of a copy, what was to be written
        return error.errno or 0, Path(os.fsdecode(file)) if isinstance(file, (str, bytes)) else None
    found = _IN_RUST.search(str(error))
    return (int(found[1]) if found else 0), None


def _within(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, or is one of the folders above it that had to be made."""
    file, folder = file.absolute(), folder.absolute()
    return file.is_relative_to(folder) or folder.is_relative_to(file)
