"""What is known of a job before it runs: found out in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

from distill_lab.config import Config
from distill_lab.launch.processes import clean_context, end_server, hear

Kind = Literal["teacher", "answers", "signals", "student", "baseline"]


@dataclass(frozen=True)
class Piece:
    """Something that is computed once, however many jobs need it.

    Attributes:
        kind: What it is.
        key: Equal for the same piece.
        about: For people.
        stored: Whether the store has it.
        seconds: What computing it takes here, as far as a short trial tells.
        bytes: Disk that it takes.
    """

    kind: Kind
    key: str
    about: str
    stored: bool
    seconds: float
    bytes: float


@dataclass(frozen=True)
class Foreseen:
    """What is known of a job before it runs.

    Attributes:
        faults: Why it cannot run; empty where nothing was found.
        pieces: What it needs; empty where that was not asked for.
    """

    faults: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()


def foresee(configs: Sequence[Config], pieces: bool) -> list[Foreseen]:
    """Hold every job's keys, values, files and models against each other, as the job would.

    It is done in another process, so that this one stays as it is.

    Args:
        configs: Of the jobs; those in the same store.
        pieces: Whether to find out what each job needs, and how long that takes.
    """
    with ProcessPoolExecutor(1, clean_context()) as pool:
        try:
            return pool.submit(_foresee, configs, pieces).result()
        except KeyboardInterrupt:
            end_server()
            raise


def _foresee(configs: Sequence[Config], pieces: bool) -> list[Foreseen]:
    from distill_lab.launch.foreseeing import foresee_here  # with all libraries

    hear()
    return foresee_here(configs, pieces)
