"""A measurement as tables: for the terminal, and as JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distill_lab.bench.energy import NOT_MEASURED
from distill_lab.bench.entry import Entry
from distill_lab.bench.report import Line, Report
from distill_lab.bench.turns import Ratio
from distill_lab.results.tables import millions

FORMATS = ("table", "json", "csv", "markdown")
_TAKES = ("parameters", "size, MB", "GFLOPs", "peak MB", "process MB", "J / 1,000")
_SPEED = ("p50, ms", "p95, ms", "rows/s")
_TIMES = ("faster alone", "in batches")  # where several are measured


def setting(report: Report) -> str:
    """Return how it was measured."""
    one = report.lines[0].entry
    threads, rows = one.machine["threads"], one.rows
    length = f", median {rows['median_length']} tokens" if rows["median_length"] else ""
    return (
        f"{one.machine['name']} ({one.device}), {threads} thread{'s' * (threads != 1)}; rows:"
        f" {rows['name']}, {rows['single']} alone and {rows['batched']} in batches of"
        f" {one.batch_size}{length}; {one.repetitions} rounds after"
        f" {one.warm_up} of warm-up; {one.date}"
    )


def explained(report: Report) -> list[str]:
    """Return what else is to be read below the tables."""
    said = []
    if any(line.soon for line in report.lines):
        few = any(line.soon and line.soon.low is None for line in report.lines)
        interval = "; fewer than 6 rounds give no interval" if few else " [95 % interval]"
        said.append(
            f"faster: times as fast as {report.against}, alone and in batches; median of the"
            f" rounds{interval}"
        )
    return [*said, *report.notes, *report.missing()]


def as_table(report: Report) -> RenderableType:
    """Return two tables for the terminal: what models take, and how fast they are."""
    takes = _table("what it takes", _TAKES)
    speeds = _speeds(report)
    speed = _table("how fast it answers", speeds)
    for line in report.lines:
        takes.add_row(Text(line.entry.model), line.entry.form, *_taken(line.entry))
        speed.add_row(Text(line.entry.model), line.entry.form, *_fast(line)[: len(speeds)])
    said = [Text(text) for text in explained(report)]
    return Group(Text(setting(report)), Text(), takes, speed, *said)


def as_json(report: Report) -> str:
    """Return all that was measured, with the ratios."""
    return json.dumps(
        {
            "against": report.against or None,
            "entries": [_flat(line) for line in report.lines],
            "left_out": [
                {"model": name, "form": form or None, "reason": reason}
                for name, form, reason in report.left_out
            ],
            "notes": report.notes,
        },
        indent=2,
        allow_nan=False,
    )


def as_csv(report: Report) -> str:
    """Return a line for each model and form; an empty cell is what was not measured."""
    lines = [_spread(_flat(line)) for line in report.lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def grid(report: Report) -> list[list[str]]:
    """Return one table: its head, and a row for each model and form."""
    head = ["model", "form", *_TAKES, *_speeds(report)]
    rows = (
        [line.entry.model, line.entry.form, *_taken(line.entry), *_fast(line)]
        for line in report.lines
    )
    return [head, *(row[: len(head)] for row in rows)]


def as_markdown(report: Report) -> str:
    """Return one table for a page, with what is said of it."""
    head, *rows = [[_plain(cell) for cell in row] for row in grid(report)]
    rows = [head, ["---", "---", *["---:"] * (len(head) - 2)], *rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    said = "".join(f"\n- {_plain(text)}" for text in explained(report))
    return f"{_plain(setting(report))}\n\n{table}\n{said}"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("form", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=name in (*_SPEED, *_TIMES))
    return table


def _speeds(report: Report) -> tuple[str, ...]:
    """Return the columns of speed: how many times as fast only where something is held against."""
    return (*_SPEED, *_TIMES) if any(line.soon for line in report.lines) else _SPEED


def _taken(one: Entry) -> list[str]:
    return [
        millions(one.parameters),
        f"{one.size_mb:,.1f}",
        NOT_MEASURED if one.flops is None else _digits(one.flops / 1e9),
        f"{one.peak_memory_mb:,.0f}",
        f"{one.process_memory_mb:,.0f}",
        NOT_MEASURED if one.energy_j is None else _digits(one.energy_j),
    ]


def _fast(line: Line) -> list[str]:
    one = line.entry
    return [
        _digits(one.latency_p50_ms),
        _digits(one.latency_p95_ms),
        _digits(one.examples_per_second),
        _times(line.soon),
        _times(line.many),
    ]


def _times(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    places = 2 if ratio.value < 10 else 1
    value = f"{ratio.value:.{places}f}x"
    if ratio.low is None or ratio.high is None:
        return value
    return f"{value} [{ratio.low:.{places}f}, {ratio.high:.{places}f}]"


def _digits(value: float) -> str:
    """Return a number with three digits that tell something."""
    places = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 4
    return f"{value:,.{places}f}"


def _flat(line: Line) -> dict[str, Any]:
    return {
        **line.entry.plain(),
        **_bounds("latency_times", line.soon),
        **_bounds("throughput_times", line.many),
    }


def _bounds(name: str, ratio: Ratio | None) -> dict[str, float | None]:
    found = (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)
    names = (name, f"{name}_low", f"{name}_high")
    return {
        key: None if value is None else round(value, 4)
        for key, value in zip(names, found, strict=True)
    }


def _spread(flat: dict[str, Any]) -> dict[str, Any]:
    """Return a dict of which no value is a dict."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        if name == "versions":
            found[name] = " ".join(f"{package}={number}" for package, number in value.items())
        elif isinstance(value, dict):
            found |= {f"{name}_{inner}": each for inner, each in value.items()}
        else:
            found[name] = value
    return found


def _plain(text: str) -> str:
    """Return text that a page shows as it is."""
    for sign in "\\|<*_`":
        text = text.replace(sign, "&lt;" if sign == "<" else f"\\{sign}")
    return text
