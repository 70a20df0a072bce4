"""`distill-lab compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

_FORMATS = ("table", "markdown", "latex", "csv", "json", "runs")


def main(rest: list[str]) -> int:
    """Read the arguments and compare.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="distill-lab compare",
        description="Show finished runs side by side: mean and standard deviation over seeds,"
        " retention (student / teacher) and gain (student - baseline of the same seed), with its"
        " 95 % interval and whether it is more than chance.",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN_OR_STUDY", help="folder of a run or of a study"
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="table",
        help="csv: a line for each row of the tables, with all numbers; runs: a csv line for each"
        " run, with its settings; the table by default",
    )
    parser.add_argument(
        "--paper", action="store_true", help="put the published figures of the study beside ours"
    )
    parser.add_argument(
        "--fidelity",
        action="store_true",
        help="also agreement of student and teacher, divergence, calibration",
    )
    given = parser.parse_args(rest)
    from distill_lab.results.show import show_comparison

    show_comparison(given.paths, given.format, paper=given.paper, fidelity=given.fidelity)
    return 0
