"""Errors of use: what a person can put right, told in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches


class UsageError(ValueError):
    """A wrong key, value or file; the message names it and the remedy."""

    code = 2  # the exit code


class ConfigError(UsageError):
    """One or more faults of a configuration, all found in one pass."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


def refuse(cases: Mapping[str, bool]) -> None:
    """Tell all faults of an object at once.

    Args:
        cases: Whether a fault is there, by the sentence that tells it.

    Raises:
        ConfigError: With the sentences of those that are.
    """
    if faults := [sentence for sentence, holds in cases.items() if holds]:
        raise ConfigError(faults)


@contextmanager
def noted(faults: list[str]) -> Iterator[None]:
    """Go on after a `ConfigError`, whose faults are told together with others.

    Args:
        faults: Takes them.
    """
    try:
        yield
    except ConfigError as error:
        faults += error.faults


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


def first_line(error: BaseException) -> str:
    """Return what an error says first, or the name of its type where it says nothing."""
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[0]


def go_online() -> str:
    """Return what is to be done where something is not on this machine."""
    name = next((n for n in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if os.environ.get(n)), "")
    return f"go online ({name} is set, which forbids it)" if name else "go online"


# What other programs and papers call our groups.
ALSO_A_GROUP = {
    "data": "task",
    "dataset": "task",
    "loss": "objective",
    "model": "student",
    "optimizer": "optim",
    "training": "trainer",
}
# What they call our keys and choices.
ALSO_CALLED = {
    "T": "temperature",
    "alpha": "lam",
    "csv": "text_classification",
    "epochs": "max_epochs",
    "gpus": "devices",
    "lambda": "lam",
    "layers": "num_layers",
    "learning_rate": "lr",
    "label_column": "label",
    "name": "model",
    "num_epochs": "max_epochs",
    "num_train_epochs": "max_epochs",
    "per_device_train_batch_size": "batch_size",
    "steps": "max_steps",
    "tau": "temperature",
    "temp": "temperature",
    "text_column": "text",
    "train_batch_size": "batch_size",
}


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, or an empty string."""
    names = list(known)
    if word in names:
        return word
    if ALSO_CALLED.get(word) in names:
        return ALSO_CALLED[word]
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    turned = [name for name in names if sorted(name) == sorted(word)]  # too short to be close
    return next(iter(close or turned), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known word, or an empty string."""
    close = closest(word, known)
    return f"; did you mean '{close}'?" if close else ""
