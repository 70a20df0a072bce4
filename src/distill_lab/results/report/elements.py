"""HTML in strings: everything that is not ours goes through `text`."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from distill_lab.results.report.figure import Entry, Figure, Grid

_HARMLESS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028",
             "\u2029": "\\u2029"}  # fmt: skip


def text(value: object) -> str:
    """Return a text as HTML shows it, for elements and for attributes in quotes."""
    return html.escape(str(value), quote=True)


def data(key: str, value: Any) -> str:
    """Return values for the page's scripts: JSON in an element that is never executed.

    No `<`, `>` or `&` is left in it, so that no text of the user's can end the element or begin a
    comment.
    """
    told = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark, harmless in _HARMLESS.items():
        told = told.replace(mark, harmless)
    return f'<script type="application/json" id="{key}">{told}</script>'


def paragraphs(lines: Sequence[str], kind: str = "") -> str:
    """Return lines as paragraphs."""
    of_kind = f' class="{kind}"' if kind else ""
    return "".join(f"<p{of_kind}>{text(line)}</p>" for line in lines)


def table(grid: Grid, key: str, pinned: int = 0, kinds: bool = False) -> str:
    """Return a table in a box of its own that scrolls, each column sorted by its heading.

    Args:
        grid: The table.
        key: Its id.
        pinned: First rows that stay first however the others are sorted.
        kinds: Whether the first column names teacher, student or baseline.
    """
    heads = "".join(heading(name, _side(grid, at)) for at, name in enumerate(grid.headings))
    rows = [_row(grid, row, kinds) for row in grid.rows]
    bodies = [f'<tbody class="pinned">{"".join(rows[:pinned])}</tbody>'] if pinned else []
    bodies.append(f"<tbody>{''.join(rows[pinned:])}</tbody>")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{key}-caption">'
        f'<table id="{key}" class="sortable" aria-labelledby="{key}-caption"><thead>'
        f"<tr>{heads}</tr></thead>{''.join(bodies)}</table></div>"
        f'<p class="caption" id="{key}-caption">{text(grid.caption)}</p>'
    )


def heading(name: str, side: str = "") -> str:
    """Return the heading of a column, a button that sorts by it."""
    return (
        f'<th scope="col"{side} aria-sort="none"><button type="button" class="sort">'
        f'{text(name)}<span class="arrow" aria-hidden="true"></span></button></th>'
    )


def _side(grid: Grid, at: int) -> str:
    return "" if at in grid.words else ' class="number"'


def _row(grid: Grid, row: Sequence[Entry], kinds: bool) -> str:
    cells = [entry(value, _side(grid, at), head=at == 0) for at, value in enumerate(row)]
    kind = str(row[0]) if kinds else ""
    return f'<tr class="{text(kind)}">{"".join(cells)}</tr>' if kind else (
        f"<tr>{''.join(cells)}</tr>"
    )  # fmt: skip


def entry(value: Entry, side: str = "", head: bool = False) -> str:
    """Return a cell of a table, the first of a row as its heading."""
    shown, order = value if isinstance(value, tuple) else (value, None)
    sort = "" if order is None else f' data-sort="{order!r}"'
    name, scope = ("th", ' scope="row"') if head else ("td", "")
    return f"<{name}{scope}{side}{sort}>{text(shown)}</{name}>"


def figure(drawn: Figure, key: str, level: int = 3, wide: bool = False) -> str:
    """Return a figure: heading, words, selector, picture, and its numbers as tables.

    Args:
        drawn: What it shows.
        key: Its id, which no other figure has.
        level: Of the heading.
        wide: Whether it takes the whole width.
    """
    head = f'<h{level} id="{key}-title">{text(drawn.title)}</h{level}>'
    about = paragraphs(drawn.about, "about")
    kind = "card wide" if wide else "card"
    start = f'<section class="{kind}" id="{key}" aria-labelledby="{key}-title">{head}{about}'
    if not drawn.views:
        return f"{start}</section>"
    choice = _selector(drawn, key) if len(drawn.views) > 1 else ""
    numbers = "".join(
        f'<div class="view" data-view="{at}"{"" if at == 0 else " hidden"}>'
        f'<p class="sentence">{text(view.sentence)}</p>'
        f"<details><summary>The numbers</summary>{table(view.grid, f'{key}-{at}')}</details></div>"
        for at, view in enumerate(drawn.views)
    )
    return (
        f'{start}<figure data-figure="{key}" aria-labelledby="{key}-title">'
        f'<div class="tools">{choice}<button type="button" class="save" data-save="{key}">'
        f"Save as SVG</button></div>"
        f'<div class="plot" style="height:{drawn.height}px" role="img"'
        f' aria-label="{text(drawn.views[0].sentence)}"></div>{numbers}</figure></section>'
    )


def _selector(drawn: Figure, key: str) -> str:
    options = "".join(
        f'<option value="{at}">{text(view.name)}</option>' for at, view in enumerate(drawn.views)
    )
    return (
        f'<label for="{key}-choice">{text(drawn.chooses)}</label>'
        f'<select id="{key}-choice" class="choice">{options}</select>'
    )
