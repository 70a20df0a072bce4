"""`distill-lab bench`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_ABOUT = """\
Measure what serving costs: parameters, size on disk, operations, latency of a row alone (p50, p95),
rows a second in batches, peak memory, energy where a counter exists. Models take turns on the same
rows, each in a process of its own, so that their ratios hold on a machine that does other things
too. What is measured of a run's models is added to its result.json."""


def main(rest: list[str]) -> int:
    """Read the arguments and measure.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    given = _parser().parse_args(rest)
    sys.path.append(os.getcwd())  # where a user's own objective lies, which a run may name
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from distill_lab.bench.asked import Asked

    formatted, recorded = given.format, given.record
    del given.format, given.record
    asked = Asked(**vars(given))
    asked.check()  # before anything slow is loaded
    from distill_lab.bench.show import bench

    bench(asked, formatted, recorded)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="distill-lab bench", description=_ABOUT)
    parser.add_argument(
        "typed", nargs="+", metavar="RUN_OR_MODEL",
        help="folder of a run, whose student is measured, or a model's folder or hub name;"
        " NAME=FOLDER gives it a name",
    )  # fmt: skip
    parser.add_argument("--teacher", action="store_true", help="the runs' teachers too")
    parser.add_argument("--baseline", action="store_true", help="the runs' baselines too")
    parser.add_argument(
        "--forms", type=_words, default=("eager",), metavar="F1,F2",
        help="of eager, compiled, onnx, int8, onnx-int8 (eager)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (auto)")
    parser.add_argument(
        "--rows", type=Path, metavar="RUN",
        help="read the evaluation rows of this run's task (those of the first run)",
    )  # fmt: skip
    parser.add_argument(
        "--lengths", type=_numbers, default=(), metavar="N1,N2",
        help="read random rows of so many tokens instead (16,32,64,128 without a run)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=32, help="rows of a batch (32)")
    parser.add_argument("--repetitions", type=int, default=10, help="rounds that count (10)")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before them (1)")
    parser.add_argument("--threads", type=int, help="threads that compute (torch's number)")
    parser.add_argument(
        "--against", metavar="NAME", help="what the others are held against (the first)"
    )
    parser.add_argument(
        "--store-dir", type=Path, metavar="FOLDER",
        help="store of teachers and baselines (that of the run)",
    )  # fmt: skip
    parser.add_argument(
        "--no-record", dest="record", action="store_false", help="leave the result.json alone"
    )
    parser.add_argument("--format", default="table", help="table, json, csv or markdown (table)")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _words(text))
