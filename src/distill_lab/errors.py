"""Errors of use: what a person can put right, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """A wrong key, value or file; the message names it and the remedy."""

    code = 2  # the exit code


class ConfigError(UsageError):
    """One or more faults of a configuration, all found in one pass."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class DataError(UsageError):
    """A data file that cannot be used as it is."""


class ModelError(UsageError):
    """A teacher or student that cannot be loaded or does not fit the task."""


class TrainingError(UsageError):
    """A training that came to numbers that are not finite."""


class MemoryFault(UsageError):
    """Models and rows that need more memory than there is."""


class DiskError(UsageError):
    """A disk that is full, or a folder that may not be written to."""


class FolderInUse(UsageError):
    """A run's folder in which another process works."""

    code = 75  # `sysexits.h` means "try again" by it


class JobsFailed(Exception):
    """Some jobs or processes failed; their folders hold `error.txt`. Exit code 1."""


class OthersGone(JobsFailed):
    """A process that trained together with this one has ended, which knows why. Exit code 1.

    Args:
        rank: Of this process.
        world: How many they are.
        told: By what it was noticed.
    """

    SAID = "another one has ended"

    def __init__(self, rank: int, world: int, told: str) -> None:
        super().__init__(
            f"process {rank} of {world}: {self.SAID} ({told}), so this one does too; the same line"
            " goes on when all are started again"
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known word, or an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
