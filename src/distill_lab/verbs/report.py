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
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="what is written")
    parser.add_argument(
        "--wandb", metavar="PROJECT",
        help="also log comparison, heat map and Pareto front as a run of Weights & Biases, in the"
        " study's group; WANDB_MODE=offline sends nothing",
    )  # fmt: skip
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
    if given.output is None and given.wandb is None:
        from distill_lab.errors import UsageError

        raise UsageError(
            "report: name what is written, as in -o report.html, or a project with --wandb"
        )
    if given.output is not None:
        from distill_lab.results.report.write import write_report

        page = write_report(
            given.paths, given.output, given.format, given.pictures, texts=given.texts
        )
    if given.wandb is not None:
        from distill_lab.results.report.page import read_page
        from distill_lab.results.report.to_wandb import to_wandb

        page = page if given.output is not None else read_page(given.paths)
        first = given.paths[0]
        to_wandb(page, given.wandb, first if first.is_dir() else first.parent)
    return 0
