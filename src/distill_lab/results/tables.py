"""Tables for people, in the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import mean, stdev

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill_lab.better import retention
from distill_lab.results.columns import Column, columns
from distill_lab.results.columns import heading as above
from distill_lab.results.compare import Comparison, comparisons
from distill_lab.results.figures import millions, spread
from distill_lab.results.result import Result
from distill_lab.results.words import notes

_NEEDED = 4  # what is spared less is what one chooses and believes by
_SHORT = {"calibration_error": "ECE", "nll": "NLL"}
__all__ = ["averaged", "comparison_table", "fitting", "millions", "run_table", "spread", "tables"]


def run_table(result: Result) -> Table:
    """Return the comparison of one run: teacher, student, baseline."""
    names = list(result.metrics["student"])
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(
            f"{result.task}: evaluation split, {result.rows['evaluation']:,} rows,"
            f" seed {result.seed}",
            style="italic",
        ),
        title_justify="left",
    )
    table.add_column("")
    for heading in (*names, "retention", "gain", "parameters", "seconds", "examples/s"):
        table.add_column(Text(heading), justify="right")
    for model in ("teacher", "student", "baseline"):
        if model in result.metrics:
            table.add_row(model, *_cells(result, model, names))
    return table


def _cells(result: Result, model: str, names: list[str]) -> list[str]:
    metrics, cost = result.metrics[model], result.cost[model]
    kept = retention(result.metric, metrics[result.metric], result.main("teacher") or 0.0)
    gain = f"{result.gain:+.4f}" if model == "student" and result.gain is not None else ""
    return [
        *(f"{metrics[name]:.4f}" for name in names),
        "" if model == "teacher" else "-" if kept is None else f"{kept:.1%}",
        gain,
        millions(result.parameters(model)),
        f"{cost['seconds']:,.0f}" if cost.get("seconds") else "-",
        f"{cost['examples_per_second']:,.0f}" if cost.get("examples_per_second") else "-",
    ]


def tables(results: Sequence[Result]) -> list[Table]:
    """Return a table for each set of runs that can be compared, see `compare.comparisons`."""
    return [comparison_table(one) for one in comparisons(results)]


def comparison_table(
    comparison: Comparison, without: Collection[str] = (), stacked: bool = False
) -> Table:
    """Return the table of one comparison.

    Args:
        comparison: What is shown.
        without: Names of columns that are left out, see `columns.Column.name`.
        stacked: Whether intervals stand below what they belong to.
    """
    shown = [column for column in columns(comparison) if column.name not in without]
    shown = [_stacked(column) for column in shown] if stacked else shown
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(comparison.title, style="italic"),
        title_justify="left",
        caption=Text("\n".join(notes(comparison)), style="dim"),
        caption_justify="left",
    )
    for column in shown:
        table.add_column(
            Text(column.heading),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_label,
            overflow="fold",
        )
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def fitting(comparison: Comparison, out: Console) -> tuple[Table, list[str]]:
    """Return a comparison's table as wide as a page, and what was left out for it.

    What can be spared goes first, and intervals below their numbers before what is chosen by;
    model, settings, the main metric, the gain with its interval and the verdict stay.

    Args:
        comparison: What is shown.
        out: Says how wide the page is.
    """
    every = columns(comparison)
    order = sorted((one for one in every if one.spared), key=_spared, reverse=True)
    first = [one.name for one in order if one.spared >= _NEEDED]
    last = [one.name for one in order if one.spared < _NEEDED]
    without, stacked = list[str](), False
    for name in (*first, None, *last):  # None: intervals go below
        if _width(every, without) <= out.width:
            break
        if name is None:
            every, stacked = [_stacked(one) for one in every], True
        else:
            without.append(name)
    return comparison_table(comparison, without, stacked), without


def _stacked(column: Column) -> Column:
    """Return a column with what stands in brackets in lines of their own."""
    return replace(column, cells=[cell.replace(" [", "\n[") for cell in column.cells])


def fidelity_table(comparison: Comparison) -> Table | None:
    """Return what runs tell of fidelity and calibration; None if they tell nothing."""
    names = list(dict.fromkeys(name for line in comparison.lines for name in line.fidelity))
    if not names:
        return None
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text("fidelity and calibration, evaluation split, mean over seeds", style="italic"),
        title_justify="left",
    )
    table.add_column("")
    for key in comparison.keys:
        table.add_column(Text(above(key)), overflow="fold")
    for name in names:
        table.add_column(Text(_SHORT.get(name, name.replace("_", " "))), justify="right")
    for line in comparison.lines:
        label = [line.label.get(key, "") for key in comparison.keys]
        told = [_told(name, line.fidelity.get(name)) for name in names]
        table.add_row(*map(Text, (line.model, *label, *told)))
    return table


def _told(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "agreement":
        return f"{value:.1%}"
    return f"{value:.1f}".removesuffix(".0") if name.startswith("only_") else f"{value:.4f}"


def _spared(column: Column) -> int:
    return column.spared


def _width(every: Sequence[Column], without: Collection[str]) -> int:
    """Return how wide a table is, each column with its space and a line between."""
    shown = [one for one in every if one.name not in without]
    lines = ("\n".join((one.heading, *one.cells)).split("\n") for one in shown)
    return sum(max(map(cell_len, each)) + 3 for each in lines) + 1


def averaged(values: Sequence[float]) -> str:
    """Return the mean of values ± their standard deviation."""
    return spread(mean(values), stdev(values) if len(values) > 1 else None)
