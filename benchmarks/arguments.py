"""What the benchmarks on SST-2 are told, and the scene that follows."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.scene import Scene

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def arguments(about: str, rows: int) -> argparse.ArgumentParser:
    """Return a parser with what the benchmarks on SST-2 are told.

    Args:
        about: First line of the help.
        rows: Training rows, unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=about)
    paths = {
        "--data": _SHARED / "data/glue/SST-2",
        "--tokenizer": _SHARED / "models/minilm-l6-h384",
    }
    helps = {"--data": "SST-2, train.tsv and dev.tsv", "--tokenizer": "model with a tokeniser"}
    for name, default in paths.items():
        parser.add_argument(name, type=Path, default=default, metavar="FOLDER", help=helps[name])
    parser.add_argument("--rows", type=int, default=rows, help=f"training rows ({rows})")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    parser.add_argument("--warmup", type=int, default=10, help="steps that are not timed (10)")
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="count the seconds that the process computes, with one thread: for a machine that does"
        " other things too",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there")
    return parser


@contextmanager
def scene(given: argparse.Namespace, rows: int | None = None, **more: Any) -> Iterator[Scene]:
    """Set the threads and yield a scene whose store and runs are deleted at the end.

    Args:
        given: What was typed.
        rows: Training rows, None for what was typed.
        **more: Of the scene: layers, width, device, length.
    """
    given.threads = 1 if given.cpu else given.threads
    torch.set_num_threads(given.threads)
    logging.getLogger("distill_lab").setLevel(logging.ERROR)  # random models do odd things
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = rows or given.rows
        yield Scene(given.data, given.tokenizer, rows, place, given.warmup, given.cpu, **more)


def measured_on(given: argparse.Namespace) -> tuple[str, ...]:
    """Say how it was measured, for `page.setting`."""
    clock = ["seconds of computing"] if given.cpu else []
    threads = f"{given.threads} thread{'s' if given.threads > 1 else ''}"
    return threads, *clock, f"{given.rounds} rounds", f"{given.rows} rows"
