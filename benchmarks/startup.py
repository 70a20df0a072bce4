"""Seconds from a command to its first training step, and where they go.

`distill-lab --help`, and `distill-lab train` with everything in the store (a teacher, its scores
and its signals, put there by a run of one step before): on the embedded task, and on SST-2 with a
real encoder where its folders are there. Seconds count from the start of the process to the start
of the first training step. Of a job of a sweep, which is forked from a process that has imported
the libraries, they count until its configuration is composed, checked and its callbacks built; what
follows is that of any run.

The command is timed as it is. Where the seconds go is told by a second process, whose functions
are wrapped with clocks (each is charged with what it does not pass on to another), and what the
imports cost by a third, under `-X importtime`, which makes them dearer.

    python -m benchmarks.startup --data SST-2 --tokenizer MODEL [--markdown FILE]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from omegaconf import DictConfig
from rich.progress import track

from benchmarks.arguments import arguments
from benchmarks.page import Lines, setting, show
from benchmarks.startup_trace import MARK
from benchmarks.timing import spread
from distill_lab.launch.jobs import Job
from distill_lab.launch.processes import Processes

ROOT = Path(__file__).resolve().parents[1]
SECONDS = ["command", "seconds", "at most"]
PHASES = ["what", "seconds", "share, %"]
IMPORTS = ["package", "seconds", "modules"]
LAB, TRACED = "distill_lab", "benchmarks.startup_trace"
COMPOSED = "+callbacks.composed"
MARKED = "+callbacks.first_step._target_=benchmarks.startup_trace.FirstStep"
SHORT = ("teacher.max_steps=2", "teacher.min_over_chance=-1", "teacher.cache=on")
MOST = {"--help": 1.0, "train": 12.0, "job": 0.5}
TOP = 16


def command(module: str, *words: str, flags: tuple[str, ...] = ()) -> tuple[float, str, str]:
    """Run a module in a process of its own.

    Args:
        module: What `python -m` runs.
        *words: What is typed after it.
        flags: Of the interpreter.

    Returns:
        When it was started, in seconds of `time.time`, its output and its errors.

    Raises:
        SystemExit: If it fails.
    """
    started = time.time()
    done = subprocess.run(
        [sys.executable, *flags, "-m", module, *words],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"python -m {module} {' '.join(words)}\n{done.stderr}")
    return started, done.stdout, done.stderr


def marked(output: str) -> dict[str, float]:
    """Return what a process said at its first step."""
    line = next(line for line in output.splitlines() if line.startswith(MARK))
    found: dict[str, float] = json.loads(line.removeprefix(MARK))
    return found


def to_first_step(words: list[str]) -> float:
    """Return the seconds from the start of `distill-lab train` to its first step."""
    started, output, _ = command(LAB, *words, MARKED)
    return marked(output)["at"] - started


def to_composed(words: list[str], jobs: int) -> list[float]:
    """Return the seconds from the start of each job of a sweep until it knows what to do.

    The first one waits for the process from which they are forked.
    """
    began: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        line = [
            Job(
                number=number,
                overrides=(*words, f"{COMPOSED}._target_={TRACED}.Composed",
                           f"{COMPOSED}.path={folder}/{number}"),
                names=(), folder=Path(folder) / f"job{number}", flags=(), config=DictConfig({}),
            )
            for number in range(jobs)
        ]  # fmt: skip
        for _ in Processes(1).run(line, lambda job: began.update({job.number: time.time()})):
            pass
        ended = {number: float(Path(folder, str(number)).read_text()) for number in began}
    return [ended[number] - began[number] for number in range(jobs)]


def phases(words: list[str]) -> dict[str, float]:
    """Return what each part of the same takes, in seconds."""
    _, output, _ = command(TRACED, repr(time.time()), *words, MARKED)
    return {name: took for name, took in marked(output).items() if name != "at"}


def phase_lines(rounds: list[dict[str, float]]) -> Lines:
    """Return the table of the parts, the dearest first, from what each round said."""
    names = {name for one in rounds for name in one}
    middle = {n: statistics.median(one.get(n, 0.0) for one in rounds) for n in names}
    whole = sum(middle.values())
    best = sorted(middle.items(), key=lambda item: -item[1])
    return [[name, f"{took:.2f}", f"{100 * took / whole:.0f}"] for name, took in best]


def import_lines(errors: str) -> Lines:
    """Return the own seconds of all modules by package, from what `-X importtime` says."""
    took, count = defaultdict[str, float](float), defaultdict[str, int](int)
    for line in errors.splitlines():
        own, _, module = line.removeprefix("import time:").partition("|")
        if not line.startswith("import time:") or not own.strip().isdigit():
            continue
        package = module.partition("|")[2].strip().partition(".")[0]
        took[package] += int(own) / 1e6
        count[package] += 1
    best = sorted(took.items(), key=lambda item: -item[1])
    lines = [[name, f"{seconds:.2f}", str(count[name])] for name, seconds in best[:TOP]]
    rest = [name for name, _ in best[TOP:]]
    left = f"{sum(took[name] for name in rest):.2f}", str(sum(count[name] for name in rest))
    whole = f"{sum(took.values()):.2f}", str(sum(count.values()))
    return [*lines, [f"{len(rest)} more", *left], ["all", *whole]]


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=0)
    parser.add_argument("--task", default="glue/sst2", help="the task of --data (glue/sst2)")
    parser.add_argument("--only", default="", metavar="TASK", help="measure this task alone")
    given = parser.parse_args()
    tasks = {"stdlib_docs": ["task=stdlib_docs"]}
    if given.data.is_dir() and given.tokenizer.is_dir():
        there = [f"task.data_dir={given.data}", f"teacher.model={given.tokenizer}"]
        tasks[given.task] = [f"task={given.task}", *there]
    helped = [_seconds_of_help() for _ in range(given.rounds)]
    first, *jobs = to_composed(["task=stdlib_docs"], 1 + given.rounds)
    table = [
        ["distill-lab --help", spread(helped), f"{MOST['--help']:g}"],
        ["a job of a sweep, until it is composed", spread(jobs), f"{MOST['job']:g}"],
        ["the first job, for which the libraries are imported", f"{first:.2f}", ""],
    ]
    tables: list[tuple[str, list[str], Lines]] = [("Seconds", SECONDS, table)]
    for name in [name for name in tasks if given.only in name]:
        with tempfile.TemporaryDirectory() as folder:
            place = [f"store_dir={folder}/store", f"hydra.run.dir={folder}/run"]
            words = ["train", *tasks[name], *place, *SHORT, "trainer.accelerator=cpu"]
            command(LAB, *words, "baseline=false", "trainer.max_steps=1")
            plain, parts = [], []
            for _ in track(range(given.rounds), name):
                plain.append(to_first_step(words))
                parts.append(phases(words))
            imports = command(LAB, *words, MARKED, flags=("-X", "importtime"))[2]
        table.append([f"distill-lab train task={name}", spread(plain), f"{MOST['train']:g}"])
        tables.append((f"{name}: where they go", PHASES, phase_lines(parts)))
        tables.append((f"{name}: imports, dearer than they are", IMPORTS, import_lines(imports)))
    said = setting(f"{given.rounds} rounds")
    show(given.markdown, "benchmarks.startup", said, __doc__, tables)


def _seconds_of_help() -> float:
    started, *_ = command(LAB, "--help")
    return time.time() - started


if __name__ == "__main__":
    main()
