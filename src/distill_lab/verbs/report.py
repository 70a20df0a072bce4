"""`distill-lab report`."""

from __future__ import annotations

import argparse
from pathlib import Path

_FORMATS = ("html", "markdown")


def main(rest: list[str]) -> int:
    """Read the arguments and write the report.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="distill-lab report",
        description="Write one page of a study: comparison, heat map, learning curves, Pareto"
        " front, calibration, soft targets, and the command of each run.",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="STUDY", help="folder of a study or of a run"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="what is written"
    )
    parser.add_argument(
        "--format", choices=_FORMATS, default="html",
        help="html: one file that needs no network; markdown: with PNG pictures beside it",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER",
        help="also write the pictures as PNG, into this folder; for markdown, by default one that"
        " is called after the file",
    )  # fmt: skip
    parser.add_argument(
        "--texts", action="store_true",
        help="show sample rows with their texts, which may be private, and count their characters",
    )  # fmt: skip
    given = parser.parse_args(rest)
    from distill_lab.results.report.write import write_report

    write_report(given.paths, given.output, given.format, given.pictures, texts=given.texts)
    return 0
