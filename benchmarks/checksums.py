"""What it costs a job to hold an entry of the store against its checksums before using it.

An entry of 1 GB in files of 64 MB, as signals are kept, read from the page cache (what another job
has just read, or just written) on one core: seconds of the processor, since nothing is waited for.
The functions take turns, so that the machine's noise falls on all alike; reported is the median of
the rounds.

    python -m benchmarks.checksums [--rounds 5] [--markdown benchmarks/checksums.md]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.page import Lines, as_markdown, as_rich, setting
from distill_lab.results.show import console
from distill_lab.store import Store, damage

FILES, BYTES = 16, 64 * 10**6
HEAD = ["what reads the entry", "GB/s", "10 GB in"]
FUNCTIONS: dict[str, Callable[[], Any]] = {
    "SHA-256": hashlib.sha256,
    "BLAKE2b": hashlib.blake2b,
    "XXH3, 128 bits": xxhash.xxh3_128,
}
OURS = "the store's own check (XXH3)"


def make(folder: Path) -> None:
    """Write the files."""
    for number in range(FILES):
        (folder / f"{number:05d}.safetensors").write_bytes(os.urandom(BYTES))


def hashed(folder: Path, new: Callable[[], Any]) -> None:
    """Read all files with a function, in pieces as the store does."""
    block = memoryview(bytearray(1 << 20))
    for path in sorted(folder.glob("*.safetensors")):
        state = new()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                state.update(block[:count])
        state.hexdigest()


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call keeps the processor busy."""
    started = time.process_time()
    call()
    return time.process_time() - started


def measure(rounds: int) -> Lines:
    """Return a row of the table for each way, the slowest first."""
    taken: dict[str, list[float]] = {name: [] for name in (*FUNCTIONS, OURS)}
    with tempfile.TemporaryDirectory() as folder:
        path, _ = Store(folder).get("signals", "benchmark", make)
        for _ in range(rounds):
            for name, new in FUNCTIONS.items():
                taken[name].append(seconds(lambda new=new: hashed(path, new)))
            taken[OURS].append(seconds(lambda: damage(path)))
        assert damage(path) == ""
    size = FILES * BYTES / 1e9
    median = {name: statistics.median(times) for name, times in taken.items()}
    return [
        [name, f"{size / each:.2f}", f"{10 * each / size:.1f} s"]
        for name, each in sorted(median.items(), key=lambda item: -item[1])
    ]


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    lines = measure(given.rounds)
    about = setting(f"{given.rounds} rounds")
    console().print(as_rich(about, HEAD, lines))
    if given.markdown:
        _, text, _ = (__doc__ or "").split("\n\n")
        made = f"Made by `python -m benchmarks.checksums`. {about}."
        parts = ["# What it costs to check an entry", made, text, as_markdown(HEAD, lines)]
        given.markdown.write_text("\n\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
