"""Tables for people, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from rich import box
from rich.table import Table

from distill_lab.better import retention
from distill_lab.results.result import Result


def run_table(result: Result) -> Table:
    """Return the comparison of one run: teacher, student, baseline."""
    names = list(result.metrics["student"])
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{result.task}: evaluation split, {result.rows['evaluation']:,} rows,"
        f" seed {result.seed}",
        title_justify="left",
    )
    table.add_column("")
    for heading in (*names, "retention", "gain", "parameters", "seconds", "examples/s"):
        table.add_column(heading, justify="right")
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


def millions(count: float) -> str:
    """Return a number of parameters as people write it: 22.7 M."""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,.0f}"


def spread(mean: float, sd: float | None) -> str:
    """Return mean ± standard deviation; the mean alone for a single value."""
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}"


def averaged(values: Sequence[float]) -> str:
    """Return the mean of values ± their standard deviation."""
    return spread(mean(values), stdev(values) if len(values) > 1 else None)


def signed(values: Sequence[float]) -> str:
    """Return the mean of differences ± their standard deviation, with its sign."""
    text = averaged(values)
    return text if text.startswith("-") else f"+{text}"
