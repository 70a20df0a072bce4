"""What a section of the page shows: pictures with the same said in words and in a table."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_lab.results.report.palette import colour

Entry = str | tuple[str, float]
"""A table's entry: its text, or its text and what it is sorted by."""
Spec = dict[str, Any]
"""Plotly's `data` and `layout` as plain values, colours by `palette.colour`."""


@dataclass(frozen=True)
class Grid:
    """A table as plain text.

    Attributes:
        caption: What it holds.
        headings: One for each column.
        rows: As many entries each.
        words: Columns of text, which are set to the left; numbers are set to the right.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class View:
    """One of the pictures among which a figure lets choose.

    Attributes:
        name: What it is called in the selector.
        spec: The picture.
        sentence: What it shows, in words.
        grid: Its numbers.
    """

    name: str
    spec: Spec
    sentence: str
    grid: Grid


@dataclass(frozen=True)
class Figure:
    """A part of the page with a heading.

    Attributes:
        key: Names it in links and files; letters, digits and hyphens.
        title: The heading.
        views: What can be looked at; none where there is nothing to show.
        about: Paragraphs above: what is shown, and why something is not.
        chooses: Label of the selector.
        height: Of the picture, in pixels of the page.
        wide: Whether it takes the whole width of the page.
    """

    key: str
    title: str
    views: Sequence[View] = ()
    about: Sequence[str] = ()
    chooses: str = "Show"
    height: int = 420
    wide: bool = False


def plain(text: object) -> str:
    """Return a text of the user's as plotly shows it letter by letter, without its own marks."""
    return html.escape(str(text), quote=False)


def hover(lines: Sequence[object]) -> str:
    """Return the lines of a label that appears under the pointer."""
    return "<br>".join(plain(line) for line in lines)


def layout(x: Mapping[str, Any], y: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return what all pictures share.

    Args:
        x: Of the horizontal axis, such as its title.
        y: Of the vertical axis.
        more: Further keys of plotly's layout.
    """
    axis = {
        "gridcolor": colour("grid"), "zerolinecolor": colour("grid"), "linecolor": colour("line"),
        "ticks": "", "automargin": True,
    }  # fmt: skip
    return {
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": colour("ink"), "size": 13, "family": FONT},
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8}, "dragmode": False, "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": colour("panel"), "bordercolor": colour("line"), "align": "left",
            "font": {"color": colour("ink"), "size": 13, "family": FONT},
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "xaxis": {**axis, **x}, "yaxis": {**axis, **y}, **more,
    }  # fmt: skip


FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"


def share_range(values: Sequence[float]) -> dict[str, Any]:
    """Return the ends that an axis of shares does not pass, whatever its bars; else nothing.

    Args:
        values: What is drawn.
    """
    if not values or min(values) < 0 or max(values) > 1:
        return {}
    return {"minallowed": -0.02, "maxallowed": 1.02}


def titled(text: str) -> dict[str, Any]:
    """Return the title of an axis."""
    return {"title": {"text": plain(text), "standoff": 8}}
