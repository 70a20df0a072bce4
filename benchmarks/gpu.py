"""One GPU: BERT-base and six of its layers, the lab beside transformers' Trainer.

Teacher 12 layers x 768, student 6 x 768, BERTs with random weights; rows of 128 tokens (those of
SST-2, joined and cut), AdamW, gradient clipping, bf16-mixed, one epoch. All arms run in one process
and take turns; an arm counts from the end of its warm-up steps to its last step, both waited for;
the median of the rounds is told, with the least and the greatest.

Utilisation is that of model FLOPs: 6 for each weight of the student's layers and token (2 forward,
4 backward), 2 for the teacher's where it runs, attention's products likewise, by the time and by
the card's dense bfloat16 peak (`--peak`, TFLOP/s; 989 is that of an H100 or H200 SXM). Embeddings,
head, clipping and optimizer count as time alone. The Trainer runs its teacher at every step, under
autocast as its student, and has four workers that collate, as has the lab (`trainer=gpu`), whose
signals are stored, and once it too has a live teacher. The time of storing them (one pass of the
teacher, shared by all later runs) is said, and in no ratio.

    pip install accelerate    # for the Trainer
    python -m benchmarks.gpu --data SST-2 --tokenizer MODEL [--markdown FILE]
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version

import torch
from torch import nn

from benchmarks.arguments import arguments, scene
from benchmarks.page import Lines, setting, show
from benchmarks.scene import Scene, labels_alone
from benchmarks.throughput_others import installed, trainer
from benchmarks.timing import Arm, Stopwatch, ratios, spread, take_turns

LENGTH, PEAK = 128, 989.0
LIVE, CACHED, COMPILED = "distill_lab, live teacher", "distill_lab", "distill_lab, compiled"
BARE, TRAINER = "bare loop, fine-tuning, no teacher", "transformers Trainer"
TABLE = ["training", "rows a second", "tokens a second", "utilisation", "GB at most",
         "this / Trainer", "must reach"]  # fmt: skip
LEAST = {LIVE: "utilisation 45 %, 1.5 x Trainer", CACHED: "2.5 x Trainer"}


class Arms:
    """Trainings of one scene with one batch size.

    Args:
        here: Rows and models.
        batch_size: Rows of a step.
        compiled: Whether to compile the student too.
    """

    def __init__(self, here: Scene, batch_size: int, compiled: bool) -> None:
        self.here = here
        self.memory: dict[str, float] = {}
        usual = ["trainer=gpu", f"optim.batch_size={batch_size}"]
        started = time.perf_counter()
        stored = here.build(*usual)
        self.storing = time.perf_counter() - started
        student = partial(here.model, here.student)
        rows = len(here.data.train)
        self.by_name: dict[str, Arm] = {
            CACHED: lambda: here.distil(student(), stored),
            LIVE: lambda: here.distil(student(), here.build(*usual, "teacher.cache=off")),
            BARE: lambda: here.bare(student(), stored, labels_alone),
        }
        if compiled:
            quick = here.build(*usual, "callbacks=compiled")
            self.by_name[COMPILED] = lambda: here.distil(student(), quick)
        if installed("accelerate"):
            self.by_name[TRAINER] = lambda: trainer(here, student(), rows, batch_size, bf16=True)

    def measured(self, rounds: int) -> dict[str, list[Stopwatch]]:
        """Run all arms, and note their memory."""
        return take_turns({name: partial(self._noted, name) for name in self.by_name}, rounds)

    def _noted(self, name: str) -> Stopwatch:
        if self.here.device.type != "cuda":  # a try, on a machine without
            self.memory[name] = float("nan")
            return self.by_name[name]()
        gc.collect()  # trainers hold themselves in circles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()  # a teacher that an arm before has left
        watch = self.by_name[name]()
        took = (torch.cuda.max_memory_allocated() - before) / 1e9
        self.memory[name] = max(self.memory.get(name, 0.0), took)
        return watch


def flops(here: Scene, name: str) -> float:
    """Return model FLOPs for a token of a training."""
    student, teacher = (_forward(here, layers) for layers in (here.student, here.teacher))
    return 3 * student + (teacher if name in (LIVE, TRAINER) else 0)


def _forward(here: Scene, layers: int) -> float:
    with torch.device("meta"):
        model = here.model(layers)
    inside = [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and ".layer." in n]
    weights = sum(module.weight.numel() for module in inside)
    attention = 2 * layers * here.data.max_length * here.width  # scores, and sums of values
    return 2.0 * (weights + attention)


def lines(here: Scene, arms: Arms, found: Mapping[str, Sequence[Stopwatch]], peak: float) -> Lines:
    """Return a row of the table for each arm.

    Args:
        here: Rows and models.
        arms: What was run.
        found: Stopwatches of each round, by arm.
        peak: Of the card, in TFLOP/s.
    """
    table = []
    for name, watches in found.items():
        rates = [watch.examples_per_second for watch in watches]
        tokens = statistics.median(rates) * here.data.max_length
        used = tokens * flops(here, name) / (peak * 1e12)
        beside = ""
        if TRAINER in found and name != TRAINER:
            beside = spread(ratios(rates, [w.examples_per_second for w in found[TRAINER]]))
        cells = [
            name,
            spread(rates, 0),
            f"{tokens:,.0f}",
            f"{used:.1%}",
            f"{arms.memory[name]:.1f}",
        ]
        table.append([*cells, beside, LEAST.get(name, "")])
    return table


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=25600)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256], help="rows of a step")
    parser.add_argument("--peak", type=float, default=PEAK, help=f"TFLOP/s of the card ({PEAK:g})")
    parser.add_argument("--device", default="cuda", help="where (cuda)")
    parser.add_argument("--layers", type=int, nargs=2, default=[12, 6], help="teacher's, student's")
    parser.add_argument("--width", type=int, default=768, help="of both (768)")
    parser.add_argument("--compiled", action="store_true", help="compile the student too")
    given = parser.parse_args()
    sizes = {"layers": given.layers, "width": given.width, "device": given.device, "length": LENGTH}
    tables, said = [], list[str]()
    for size in given.batch:
        with scene(given, min(given.rows, 200 * size), **sizes) as here:
            arms = Arms(here, size, given.compiled)
            table = lines(here, arms, arms.measured(given.rounds), given.peak)
            rows = len(here.data.train)
        tables.append((f"Batches of {size}, {rows} rows (least to greatest)", TABLE, table))
        said.append(f"signals of {rows} rows stored in {arms.storing:.1f} s")
    card = torch.cuda.get_device_name() if given.device == "cuda" else given.device
    about = setting(
        f"transformers {version('transformers')}", card, f"{given.rounds} rounds", *said
    )
    show(given.markdown, "benchmarks.gpu", about, __doc__, tables)


if __name__ == "__main__":
    main()
