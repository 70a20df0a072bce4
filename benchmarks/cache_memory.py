"""Memory of a distillation from stored signals, and of opening many of them.

Peak: the student (6 x 256) is distilled from stored signals, and fine-tuned on labels alone, by the
same `fit` with the same rows; each in a process of its own, whose greatest resident set is taken.

Opening: the logits of 1,000,000 rows and 3 classes are written by `SignalWriter` and opened by
`SignalFiles` in a process of its own, which then reads some batches, and then every row once. The
kernel tells which of its memory is its own (anonymous) and which are pages of mapped files, that it
takes back when memory is short (Linux only).

    python -m benchmarks.cache_memory --data SST-2 --tokenizer MODEL [--markdown FILE]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from benchmarks.arguments import arguments, measured_on
from benchmarks.page import Lines, setting, show
from benchmarks.timing import ratios, spread

KINDS = ("distil", "finetune")
PEAK = ["training", "peak, MB", "by fine-tuning", "at most"]
OPENED = ["moment", "anonymous, MB", "of files, MB", "all, MB", "anonymous, beyond the start, MB"]
MOST_RATIO, MOST_MB = 1.05, 50
ROWS, CLASSES = 1_000_000, 3


def child(*words: object) -> list[str]:
    """Return what a process of its own says, by line."""
    command = [sys.executable, "-m", "benchmarks.cache_memory_child", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def peaks(given: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Return the peak of each kind of training, in MB, round for round."""
    words = given.data, given.tokenizer, given.rows, folder, given.threads
    child("store", *words)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in track(range(given.rounds), "peak"):
        for kind in KINDS:
            found[kind].append(float(child(kind, *words)[-1]))
    return found


def peak_lines(found: dict[str, list[float]]) -> Lines:
    """Return the first table."""
    share = ratios(found["distil"], found["finetune"])
    names = {"distil": "distillation from stored signals", "finetune": "fine-tuning alone"}
    told = {"distil": [spread(share, 3), f"{MOST_RATIO:g}"], "finetune": ["", ""]}
    return [[names[kind], spread(found[kind], 0), *told[kind]] for kind in KINDS]


def opened_lines(said: list[str]) -> Lines:
    """Return the second table from what the process said: moment, anonymous, of files, all."""
    rows = [line.split("\t") for line in said]
    start = float(rows[0][1])
    return [
        [moment, *(f"{float(n):.1f}" for n in sizes), f"{float(sizes[0]) - start:.1f}"]
        for moment, *sizes in rows
    ]


def opened(rows: int) -> Iterator[list[str]]:
    """Yield the second table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        child("write", folder, rows, CLASSES)
        yield from opened_lines(child("open", folder))


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=2048)
    parser.add_argument("--signals", type=int, default=ROWS, help=f"rows to be opened ({ROWS})")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = peaks(given, Path(folder))
    share = statistics.median(ratios(found["distil"], found["finetune"]))
    tables = [
        ("Peak of a training: median (least to greatest)", PEAK, peak_lines(found)),
        (
            f"{given.signals:,} rows of {CLASSES} logits, at most {MOST_MB} MB more",
            OPENED, list(opened(given.signals)),
        ),
    ]  # fmt: skip
    said = setting(*measured_on(given), f"ratio {share:.3f}")
    show(given.markdown, "benchmarks.cache_memory", said, __doc__, tables)


if __name__ == "__main__":
    main()
