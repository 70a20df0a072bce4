"""Rows a second in training: the lab, a bare loop, transformers' Trainer, TextBrewer.

Rows of SST-2 (13 tokens on average), batches of 32, AdamW, gradient clipping, float32, one epoch;
teacher 12 layers x 256, student 6 x 256, both BERTs with random weights. All arms run in one
process and take turns; an arm counts from the end of its warm-up steps to its last step, without
scoring the selection split. All rounds take the same steps; of each step the median over the
rounds counts, so that what disturbs the machine for a while does not. In brackets the rounds, each
as it was.

The slow arms take fewer rows: Trainer half of them, TextBrewer an eighth. Rows are tokenised
beforehand for all arms. The Trainer and TextBrewer run the teacher at every step, because that is
their way; the lab has its signals stored, and once as a live teacher. The time of storing them
(one pass of the teacher over the rows, shared by all later runs) is said, and in no ratio.

    pip install accelerate textbrewer    # for the arms of others
    python -m benchmarks.throughput --data SST-2 --tokenizer MODEL [--markdown FILE]
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version

from benchmarks.arguments import arguments, measured_on, scene
from benchmarks.page import Lines, setting, show
from benchmarks.scene import Built, Scene, labels_alone
from benchmarks.throughput_others import installed, textbrewer, trainer
from benchmarks.timing import Arm, Stopwatch, compared, measured, take_turns
from distill_lab.guards import has_bfloat16

OURS, LIVE = "distill_lab", "distill_lab, live teacher"
BARE, TRAINER = "bare loop, fine-tuning, no teacher", "transformers Trainer, padded to the batch"
BREWER = "TextBrewer GeneralDistiller, padded to 128"
TABLE = ["training", "rows a second", "distill_lab / this", "this / distill_lab", "must reach"]
FEWER = {TRAINER: 2, BREWER: 8}
NEEDS = {TRAINER: "accelerate", BREWER: "textbrewer"}
FAST = "trainer=fast"
LEAST = {TRAINER: 3.5, BREWER: 10.0, BARE: 0.97}
LEAST_FAST = 1.3


def arms(here: Scene, stored: Built, fast: str) -> dict[str, Arm]:
    """Return the arms by name.

    Args:
        here: Rows and models.
        stored: The default configuration, its signals stored.
        fast: Override that makes the fast arm; empty where it is left out.
    """
    live = here.build("teacher.cache=off")
    rows = len(here.data.train)
    student = partial(here.model, here.student)
    found = {
        OURS: lambda: here.distil(student(), stored),
        BARE: lambda: here.bare(student(), stored, labels_alone),
        LIVE: lambda: here.distil(student(), live),
        TRAINER: lambda: trainer(here, student(), rows // FEWER[TRAINER]),
        BREWER: lambda: textbrewer(here, student(), rows // FEWER[BREWER]),
    }
    if fast:
        quick = here.build(fast)
        found[f"{OURS}, {fast}"] = lambda: here.distil(student(), quick)
    return found


def lines(found: Mapping[str, Sequence[Stopwatch]], fast: str) -> Lines:
    """Return a row of the table for each arm.

    Args:
        found: Stopwatches of each round, by arm.
        fast: Name of the fast arm.
    """
    table = []
    for name, watches in found.items():
        over = compared(found[OURS], watches, _rate)
        under = compared(watches, found[OURS], _rate, 3)
        least = f"distill_lab / this: {LEAST[name]:g}" if name in LEAST else ""
        least = f"this / distill_lab: {LEAST_FAST:g}" if name == fast else least
        told = ["", ""] if name == OURS else [over, under]
        table.append([name, measured(watches, _rate, 1), *told, least])
    return table


def _rate(watch: Stopwatch) -> float:
    return watch.examples_per_second


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=6400)
    parser.add_argument("--fast", default=FAST, metavar="OVERRIDE", help=f"the fast arm ({FAST})")
    parser.add_argument("--only", default="", metavar="TEXT", help="arms with this in their name")
    given = parser.parse_args()
    with scene(given) as here:
        started = time.perf_counter()
        stored = here.build()
        took = time.perf_counter() - started
        absent, fast = list[str](), given.fast
        if fast == FAST and not has_bfloat16():
            absent.append(f"{fast}: left out; this processor does not compute in bfloat16")
            fast = ""
        chosen = arms(here, stored, fast)
        for name, package in NEEDS.items():
            if not installed(package):
                absent.append(f"{name}: not installed, left out; pip install {package}")
                del chosen[name]
        chosen = {n: arm for n, arm in chosen.items() if n == OURS or given.only in n}
        watches = take_turns(chosen, given.rounds)
        tokens = here.data.train.lengths.mean()
    said = setting(
        f"transformers {version('transformers')}",
        *measured_on(given), f"{tokens:.1f} tokens a row", f"signals stored in {took:.1f} s",
        *absent,
    )  # fmt: skip
    table = lines(watches, f"{OURS}, {given.fast}")
    title = "Rows a second (least to greatest of the rounds)"
    show(given.markdown, "benchmarks.throughput", said, __doc__, [(title, TABLE, table)])


if __name__ == "__main__":
    main()
