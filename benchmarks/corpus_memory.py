"""Memory of masked-LM distillation on a text larger than what a machine would like to hold.

A text of random words (lines of 5 to 20, drawn from 50,000) is written; `distill-lab train
task=masked_lm` tokenises it, and distils a few steps; the greatest resident set of that process is
taken, which counts the pages of mapped files that it has touched. Beside it, the same line on a
text of 5 MB: what the models, libraries and batches take.

    python -m benchmarks.corpus_memory --tokenizer MODEL [--gigabytes 2] [--markdown FILE]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.arguments import arguments
from benchmarks.page import Lines, setting, show

HEAD = ["text", "tokens", "minutes", "peak, MB", "beyond the small text, MB", "at most, MB"]
MOST_MB = 3000
SMALL, TINY = 5e6, 1e5
_LINES = 1_000


def write(path: Path, size: float) -> None:
    """Write about so many bytes of random words."""
    random = np.random.default_rng(0)
    letters = np.asarray(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, random.integers(2, 10))) for _ in range(50_000)]
    with path.open("w") as file:
        while file.tell() < size:
            drawn = random.integers(0, len(words), (_LINES, 20))
            lengths = random.integers(5, 21, _LINES)
            file.writelines(
                " ".join(words[w] for w in row[:n]) + "\n"
                for row, n in zip(drawn, lengths, strict=True)
            )


def peak(text: Path, model: Path, folder: Path, steps: int) -> tuple[float, float, int]:
    """Return the peak in MB, the minutes, and the tokens of a training on a text."""
    line = [
        sys.executable, "-m", "distill_lab", "train", "task=masked_lm", f"task.train={text}",
        f"task.evaluation={folder / 'tiny.txt'}", f"teacher.model={model}",
        f"teacher.max_steps={steps}", "teacher.min_over_chance=-1", "student=layers_3",
        "objective=distilbert", "baseline=false", f"trainer.max_steps={steps}",
        "task.selection_max=50", "trainer.accelerator=cpu", f"store_dir={folder / text.stem}",
        f"hydra.run.dir={folder / (text.stem + '-run')}",
    ]  # fmt: skip
    started = time.perf_counter()
    child = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ}
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{text}: the training failed")
    files = (folder / text.stem / "tokens").glob("*/tokens.npy")
    count = max(int(np.load(file, mmap_mode="r").shape[0]) for file in files)
    return usage.ru_maxrss / 1000, (time.perf_counter() - started) / 60, count


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=0)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the text (2)")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps (20)")
    given = parser.parse_args()
    table: Lines = []
    with tempfile.TemporaryDirectory() as place:
        folder, before = Path(place), 0.0
        write(folder / "tiny.txt", TINY)
        for name, size in (("small", SMALL), ("large", given.gigabytes * 1e9)):
            write(folder / f"{name}.txt", size)
            found, minutes, tokens = peak(
                folder / f"{name}.txt", given.tokenizer, folder, given.steps
            )
            size = (folder / f"{name}.txt").stat().st_size
            row = [f"{size / 1e9:.3f} GB", f"{tokens:,}", f"{minutes:.1f}", f"{found:,.0f}"]
            beyond = ["", ""] if name == "small" else [f"{found - before:,.0f}", f"{MOST_MB:,}"]
            table.append([*row, *beyond])
            before = found
    said = setting(f"{given.steps} steps of teacher and student")
    show(given.markdown, "benchmarks.corpus_memory", said, __doc__, [("Memory", HEAD, table)])


if __name__ == "__main__":
    main()
