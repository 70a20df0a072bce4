"""What each objective costs: time beside the passes nobody can avoid, memory beside the logits.

Time: the same batch (32 rows of 64 to 128 tokens), teacher (12 layers, 256 wide) and student (6
layers, 256 wide, 8 heads) for all. *Bare* is what no distillation can avoid: the teacher's forward
pass, the student's, and its backward pass from the cross-entropy. Each step with an objective,
signals and gradients included, runs between two bare ones, so that the machine's noise falls on
all alike; reported is the median of the ratios with its quartiles.

Memory: losses on 2048 rows of 50,257 classes, each in a process of its own; the peak of forward and
backward pass beside both models' logits, in copies of the student's logits; "64 largest" are all
that is known of the teacher's.

    python -m benchmarks.objectives [--rounds 15] [--markdown benchmarks/objectives.md]
"""

from __future__ import annotations

import argparse
import re
import statistics
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.objectives_memory import NAMES, PLAIN, copies
from benchmarks.objectives_steps import ratios
from benchmarks.page import Lines, as_markdown, as_rich, setting
from distill_lab.results.show import console

TIME = ["objective", "step / bare step", "quartiles"]
MEMORY = ["loss on 50,257 classes", "copies of the logits"]
GUIDE = Path(__file__).resolve().parents[1] / "docs" / "objectives.md"


def time_lines(found: dict[str, list[float]]) -> Lines:
    """Return a row of the table for each objective, the cheapest first."""
    lines = []
    for name, values in sorted(found.items(), key=lambda item: statistics.median(item[1])):
        low, middle, high = statistics.quantiles(values, n=4)
        lines.append([name, f"{middle:.3f}", f"{low:.3f} to {high:.3f}"])
    return lines


def memory_lines() -> Lines:
    """Return a row for each loss."""
    return [[name, f"{copies(name):.2f}"] for name in track([*NAMES, PLAIN], "memory")]


def into_guide(time: Lines) -> None:
    """Put the ratios between the marks of docs/objectives.md."""
    text = GUIDE.read_text(encoding="utf-8")
    table = as_markdown(TIME, time)
    new = re.sub(r"(<!-- costs -->\n).*?(<!-- /costs -->)", rf"\1{table}\2", text, flags=re.DOTALL)
    GUIDE.write_text(new, encoding="utf-8")


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the page there, and the guide's table"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="time objectives with this name")
    given = parser.parse_args()
    memory = [] if given.only else memory_lines()
    found, bare = ratios(given.rounds, given.only)
    time = time_lines(found)
    said = setting(
        f"{torch.get_num_threads()} threads", f"{given.rounds} rounds",
        f"a bare step {statistics.median(bare):.2f} s",
    )  # fmt: skip
    screen = console()
    screen.print(said)
    screen.print(as_rich("Time", TIME, time))
    screen.print(as_rich("Memory", MEMORY, memory))
    if given.markdown and not given.only:
        parts = [
            "# What each objective costs\n",
            f"Made by `python -m benchmarks.objectives`. {said}.\n",
            (__doc__ or "").split("\n\n", 1)[1].rsplit("\n\n", 1)[0] + "\n",
            "## Time\n", as_markdown(TIME, time), "## Memory\n", as_markdown(MEMORY, memory),
        ]  # fmt: skip
        given.markdown.write_text("\n".join(parts), encoding="utf-8")
        into_guide(time)


if __name__ == "__main__":
    main()
