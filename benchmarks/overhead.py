"""What Lightning and our module cost over a bare loop that does the same distillation step.

Students 2 x 128 and 6 x 256 are distilled from stored signals on rows of SST-2, by the lab with its
default callbacks and the CSV logger, and by a bare loop with the same batches, signals, objective,
optimizer, schedule and clipping. Both end with the same weights, bit for bit, or the script stops.
Epochs take turns and have the same steps; of each step the median over the rounds counts, so that
what disturbs the machine for a while does not. In brackets the rounds, each as it was.

    python -m benchmarks.overhead --data SST-2 --tokenizer MODEL [--profile] [--markdown FILE]
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from benchmarks.arguments import arguments, measured_on, scene
from benchmarks.overhead_profile import profiled
from benchmarks.page import Lines, setting, show
from benchmarks.scene import Built, Scene, distillation
from benchmarks.timing import Stopwatch, compared, measured, take_turns
from distill_lab.models import state_fingerprint
from distill_lab.results.show import console

STUDENTS = ((2, 128), (6, 256))
BARE, OURS = "bare loop", "distill_lab"
TABLE = ["student", "loop", "ms a step", "ms over bare", "% over bare", "must reach"]
MOST = "3 at most"


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

    def bare(self) -> Stopwatch:
        """Train in a bare loop."""
        student = self.here.model(*self.sizes)
        loss_of = distillation(self.built)
        return self._checked(student, self.here.bare(student, self.built, loss_of))

    def _checked(self, student: PreTrainedModel, watch: Stopwatch) -> Stopwatch:
        self._ended.add(state_fingerprint(student.state_dict()))
        if len(self._ended) > 1:
            raise SystemExit("the loops end with different weights: they do not do the same")
        return watch


def lines(student: str, found: Mapping[str, Sequence[Stopwatch]]) -> Lines:
    """Return a row of the table for each loop.

    Args:
        student: Its sizes.
        found: Stopwatches of each round, by loop.
    """
    ours, bare = found[OURS], found[BARE]
    more = compared(ours, bare, _milliseconds, by=operator.sub)
    percent = compared(ours, bare, _milliseconds, 1, by=lambda a, b: 100 * (a / b - 1))
    return [
        [student, BARE, measured(bare, _milliseconds), "", "", ""],
        [student, OURS, measured(ours, _milliseconds), more, percent, MOST],
    ]


def _milliseconds(watch: Stopwatch) -> float:
    return 1000 * watch.seconds_per_step


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
            table += lines(student, take_turns({BARE: arms.bare, OURS: arms.ours}, given.rounds))
    if given.profile:
        return
    said = setting(*measured_on(given), f"{given.warmup} steps of warm-up")
    title = "Milliseconds a step (least to greatest of the rounds)"
    show(given.markdown, "benchmarks.overhead", said, __doc__, [(title, TABLE, table)])


if __name__ == "__main__":
    main()
