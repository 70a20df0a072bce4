"""Measuring, told on the terminal and kept in the results."""

from __future__ import annotations

from distill_lab.bench.asked import Asked
from distill_lab.bench.measure import measure
from distill_lab.bench.report import Report, keep
from distill_lab.bench.tables import FORMATS, as_csv, as_json, as_markdown, as_table
from distill_lab.errors import ConfigError, did_you_mean
from distill_lab.quiet import quiet_libraries
from distill_lab.results.show import console

_AS_TEXT = {"json": as_json, "csv": as_csv, "markdown": as_markdown}


def bench(asked: Asked, formatted: str, recorded: bool) -> Report:
    """Measure, print, and add to the results of the runs.

    Args:
        asked: What is to be measured.
        formatted: "table", "json", "csv" or "markdown".
        recorded: Whether the runs' results are told.

    Raises:
        UsageError: If something cannot be used as it is, or nothing could be measured.
    """
    if formatted not in FORMATS:
        close = did_you_mean(formatted, FORMATS)
        raise ConfigError(f"--format={formatted}: choose among {', '.join(FORMATS)}{close}")
    quiet_libraries()
    report = measure(asked)
    out = console()
    if formatted in _AS_TEXT:
        print(_AS_TEXT[formatted](report))
    else:
        out.print(as_table(report), highlight=False)
    kept = keep(report) if recorded else []
    if formatted == "table":
        for folder in kept:
            out.print(f"added to {folder}/result.json", highlight=False, markup=False)
    return report
