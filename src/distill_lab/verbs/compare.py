"""`distill-lab compare`."""

from __future__ import annotations

import argparse
from pathlib import Path


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
        " retention (student / teacher) and gain (student - baseline of the same seed).",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN_OR_STUDY", help="folder of a run or of a study"
    )
    given = parser.parse_args(rest)
    from distill_lab.results.show import show_comparison

    show_comparison(given.paths)
    return 0
