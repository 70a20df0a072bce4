"""What Lightning and our module cost over a bare loop that does the same distillation step.

Students 2 x 128 and 6 x 256 are distilled from stored signals on rows of SST-2, by the lab with its
default callbacks and the CSV logger, and by a bare loop with the same batches, signals, objective,
optimizer, schedule and clipping. Both end with the same weights, bit for bit, or the script stops.
Epochs take turns; overhead is taken round for round.

`trainer.deterministic=true` is the lab's default and a choice, not a cost of the loop: a second
bare loop has it too, and the overhead over that one is what Lightning and our module cost.

    python -m benchmarks.overhead --data SST-2 --tokenizer MODEL [--profile] [--markdown FILE]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from transformers import PreTrainedModel

from benchmarks.overhead_profile import profiled
from benchmarks.page import Lines, setting, show
from benchmarks.scene import Built, Scene, arguments, distillation, measured_on, scene
from benchmarks.timing import Stopwatch, ratios, spread, take_turns
from distill_lab.models import state_fingerprint
from distill_lab.results.show import console

STUDENTS = ((2, 128), (6, 256))
BARE, PLAIN, OURS = "bare loop, deterministic", "bare loop", "distill_lab"
TABLE = ["student", "loop", "ms a step", "over bare, deterministic, %", "ms", "over bare, %"]
Seconds = Mapping[str, Sequence[float]]


class Arms:
    """The loops for one student; all must end with the same weights.

    Args:
        here: Rows and models.
        built: Configuration and signals.
        layers: Of the student.
        width: Of the student.
    """

    def __init__(self, here: Scene, built: Built, layers: int, width: int) -> None:
        self.here = here
        self.built = built
        self.sizes = layers, width
        self._ended: set[str] = set()

    def ours(self) -> Stopwatch:
        """Train as the lab does."""
        student = self.here.model(*self.sizes)
        return self._checked(student, self.here.distil(student, self.built))

    def bare(self, deterministic: bool = True) -> Stopwatch:
        """Train in a bare loop."""
        student = self.here.model(*self.sizes)
        torch.use_deterministic_algorithms(deterministic)
        try:
            watch = self.here.bare(student, self.built, distillation(self.built))
        finally:
            torch.use_deterministic_algorithms(False)
        return self._checked(student, watch)

    def _checked(self, student: PreTrainedModel, watch: Stopwatch) -> Stopwatch:
        self._ended.add(state_fingerprint(student.state_dict()))
        if len(self._ended) > 1:
            raise SystemExit("the loops end with different weights: they do not do the same")
        return watch


def lines(student: str, found: Seconds) -> Lines:
    """Return a row of the table for each loop.

    Args:
        student: Its sizes.
        found: Seconds of a step in each round, by loop.
    """
    table = []
    for name, values in found.items():
        told = [student, name, spread([1000 * x for x in values])]
        if name == OURS:
            more = [1000 * (a - b) for a, b in zip(values, found[BARE], strict=True)]
            told += [_percent(values, found[BARE]), spread(more), _percent(values, found[PLAIN])]
        elif name == BARE:
            told += ["", "", _percent(values, found[PLAIN])]
        table.append([*told, *[""] * (len(TABLE) - len(told))])
    return table


def _percent(ours: Sequence[float], theirs: Sequence[float]) -> str:
    return spread([100 * (x - 1) for x in ratios(ours, theirs)], 1)


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=6400)
    parser.add_argument(
        "--profile", action="store_true", help="say what our loop does beyond the bare one, instead"
    )
    parser.add_argument("--only", default="", metavar="STUDENT", help='one of them, as "2 x 128"')
    given = parser.parse_args()
    screen, table = console(), Lines()
    with scene(given) as here:
        built = here.build()
        for layers, width in STUDENTS:
            student, arms = f"{layers} x {width}", Arms(here, built, layers, width)
            if given.only not in student:
                continue
            if given.profile:
                for part in profiled(student, arms.ours, arms.bare, given.cpu):
                    screen.print(part)
                continue
            loops = {BARE: arms.bare, PLAIN: partial(arms.bare, False), OURS: arms.ours}
            watches = take_turns(loops, given.rounds)
            found = {n: [w.seconds_per_step for w in each] for n, each in watches.items()}
            table += lines(student, found)
    if given.profile:
        return
    said = setting(*measured_on(given), f"{given.warmup} steps of warm-up")
    title = "Milliseconds a step: median (least to greatest)"
    show(given.markdown, "benchmarks.overhead", said, __doc__, [(title, TABLE, table)])


if __name__ == "__main__":
    main()
