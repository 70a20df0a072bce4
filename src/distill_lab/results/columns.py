"""The columns of a comparison as text: what terminal, markdown and LaTeX show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from distill_lab.results.compare import Comparison, Line
from distill_lab.results.figures import level, millions, spread


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: What it is called where it is left out.
        heading: What stands above it.
        cells: One for each line.
        spared: 0 for a column that is never left out; the larger, the sooner it is.
        is_text: Whether it holds words, not numbers.
        is_label: Whether it holds a setting, whose value may be long.
    """

    name: str
    heading: str
    cells: list[str]
    spared: int = 0
    is_text: bool = False
    is_label: bool = False


def columns(comparison: Comparison) -> list[Column]:
    """Return the columns of a comparison, from left to right."""
    lines = comparison.lines
    found = [Column("model", "", [line.model for line in lines], is_text=True)]
    for key in comparison.keys:
        own = [line.label.get(key, "") for line in lines]
        found.append(Column(key, heading(key), own, is_text=True, is_label=True))

    def add(name: str, cell: Callable[[Line], str], spared: int = 0, is_text: bool = False) -> None:
        found.append(Column(name, name, [cell(line) for line in lines], spared, is_text))

    add("seeds", lambda line: str(len(line.seeds)) if line.seeds else "", 1)
    add("selection", lambda line: "" if line.selection is None else f"{line.selection:.4f}", 2)
    for place, metric in enumerate(comparison.metrics):
        # Of several further metrics the last goes first.
        add(metric, lambda line, name=metric: _metric(line, name), place and 10 + place)  # type: ignore[misc]
    if any(line.gain for line in lines):
        add("gain", _gain)
        if comparison.tested:
            add("p", _level, 3)
        add("verdict", lambda line: line.gain.verdict if line.gain else "", is_text=True)
    add("retention", _retention, 4)
    add("parameters", lambda line: millions(line.parameters), 5)
    return found


def heading(key: str) -> str:
    """Return what stands above a setting: T for the temperature, no group for an objective's."""
    return "T" if key == "objective.temperature" else key.removeprefix("objective.")


def _metric(line: Line, name: str) -> str:
    found = line.metrics.get(name)
    return "" if found is None else spread(found.mean, found.sd)


def _gain(line: Line) -> str:
    gain = line.gain
    if gain is None:
        return ""
    if gain.alike:
        return f"{gain.mean:+.4f} [no row differs]"
    if gain.low is None or gain.high is None:
        text = spread(gain.mean, gain.sd)
        return text if text.startswith("-") else f"+{text}"
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def _level(line: Line) -> str:
    adjusted = line.gain.adjusted if line.gain else None
    return "" if adjusted is None else level(adjusted)


def _retention(line: Line) -> str:
    if line.model == "teacher":
        return ""
    return "-" if line.retention is None else f"{line.retention:.1%}"
