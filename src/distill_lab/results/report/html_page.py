"""The page as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from distill_lab import __version__
from distill_lab.results.report import words
from distill_lab.results.report.elements import data, figure, paragraphs, table, text
from distill_lab.results.report.figure import Figure
from distill_lab.results.report.page import Page, Section
from distill_lab.results.report.palette import DARK, LIGHT, variables
from distill_lab.results.report.runs_html import runs_section
from distill_lab.results.report.softness import Softness

_ASSETS = Path(__file__).with_name("assets")
_BEFORE = ("theme.js",)  # runs before anything is painted
_AFTER = ("figures.js", "tables.js", "softness.js")


def as_html(page: Page) -> str:
    """Return the page.

    Its policy allows only the scripts that stand in it, by their SHA-256, and no network.
    """
    from plotly.offline import get_plotlyjs

    before = _assets(_BEFORE)
    after, plotly = _assets(_AFTER), get_plotlyjs()
    shown = {key: drawn for key, drawn in _keyed(page)}
    specs = {
        key: [{"spec": view.spec, "sentence": view.sentence} for view in drawn.views]
        for key, drawn in shown.items()
        if drawn.views
    }
    title = f"{page.study.name}: distillation report"
    body = "".join([
        '<a class="skip" href="#main">Skip to the content</a>', _head(page),
        f'<div class="columns">{_contents(page)}<main id="main">', _main(page), "</main></div>",
        _foot(),
    ])  # fmt: skip
    policy = "; ".join([
        "default-src 'none'", f"script-src {' '.join(map(_hash, [before, after, plotly]))}",
        "style-src 'unsafe-inline'", "img-src data: blob:", "base-uri 'none'",
        "form-action 'none'",
    ])  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="distill-lab {__version__}">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{_css()}</style>\n<script>{before}</script>\n"
        f"</head>\n<body>\n{body}\n{data('palette', {'light': LIGHT, 'dark': DARK})}\n"
        f"{data('specs', specs)}\n{data('samples', _samples(page))}\n<script>{after}</script>\n"
        # Executed by figures.js when the page is there, so that nobody waits for it.
        f'<script type="text/plain" id="plotly">{plotly}</script>\n'
        "</body>\n</html>\n"
    )


def _assets(names: Sequence[str]) -> str:
    return "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in names)


def _css() -> str:
    """Return the style sheet, its colours those of the pictures."""
    own = (_ASSETS / "page.css").read_text(encoding="utf-8")
    return (
        f":root {{ color-scheme: light; {variables(LIGHT)} }}\n"
        f':root[data-theme="dark"] {{ color-scheme: dark; {variables(DARK)} }}\n'
        "@media (prefers-color-scheme: dark) { :root:not([data-theme]) {"
        f" color-scheme: dark; {variables(DARK)} }} }}\n{own}"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _keyed(page: Page) -> list[tuple[str, Figure]]:
    """Return all figures by their ids."""
    found = [(f"{s.key}-{drawn.key}", drawn) for s in page.sections for drawn in s.figures]
    return [*found, *((drawn.key, drawn) for drawn in page.fronts)]


def _head(page: Page) -> str:
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in words.facts(page.study).items()
    )
    return (
        '<header class="top"><div class="bar"><span class="brand">distill-lab</span>'
        '<button type="button" id="theme" hidden>Dark theme</button></div>'
        f'<h1>{text(page.study.name)}</h1><dl class="facts">{facts}</dl></header>'
    )


def _contents(page: Page) -> str:
    """Return the table of contents."""
    many = len(page.sections) > 1
    lines = []
    for section in page.sections:
        inner = "".join(
            f'<li><a href="#{section.key}-{drawn.key}">{text(drawn.title)}</a></li>'
            for drawn in section.figures
        )
        name = section.title if many else "Comparison"
        lines.append(f'<li><a href="#{section.key}">{text(name)}</a><ul>{inner}</ul></li>')
    lines += [f'<li><a href="#{front.key}">{text(front.title)}</a></li>' for front in page.fronts]
    lines.append('<li><a href="#softness">How soft the targets are</a></li>')
    lines.append('<li><a href="#runs">Runs</a></li>')
    if words.left_out(page.study):
        lines.append('<li><a href="#left-out">What is left out</a></li>')
    return f'<nav aria-label="Contents" class="contents"><ul>{"".join(lines)}</ul></nav>'


def _main(page: Page) -> str:
    parts = [_section(section) for section in page.sections]
    parts += [figure(front, front.key, level=2) for front in page.fronts]
    parts += [_softness(page.softness), runs_section(page.runs), _left_out(page)]
    return "".join(parts)


def _section(section: Section) -> str:
    apart = f'<p class="apart">{text(section.apart)}</p>' if section.apart else ""
    pinned = sum(row[0] != "student" for row in section.table.rows)
    figures = sorted(section.figures, key=lambda each: (not each.views, not each.wide))
    halves = [each.key for each in figures if each.views and not each.wide]
    paired = halves[: len(halves) - len(halves) % 2]
    drawn = "".join(
        figure(each, f"{section.key}-{each.key}", wide=each.key not in paired) for each in figures
    )
    return (
        f'<section id="{section.key}" aria-labelledby="{section.key}-title" class="group">'
        f'<div class="card"><h2 id="{section.key}-title">{text(section.title)}</h2>{apart}'
        f'<div class="summary">{paragraphs(section.summary)}</div>'
        f"{table(section.table, f'{section.key}-table', pinned, kinds=True)}</div>"
        f'<div class="grid">{drawn}</div></section>'
    )


def _softness(teachers: Sequence[Softness]) -> str:
    blocks = "".join(_block(each, number) for number, each in enumerate(teachers))
    return (
        '<section class="card" id="softness" aria-labelledby="softness-title">'
        f'<h2 id="softness-title">How soft the teacher\'s targets are</h2>{blocks}</section>'
    )


def _block(soft: Softness, number: int) -> str:
    head = f"<h3>{text(soft.teacher)}</h3>" if soft.teacher else ""
    about = f'<p class="about">{text(soft.about)}</p>'
    if not soft.rows:
        return head + about
    return (
        f'{head}{about}<div class="softness" data-samples="{number}">'
        f'<div class="slider"><label for="t-{number}">Temperature T</label>'
        f'<input type="range" id="t-{number}" min="0.5" max="20" step="0.5"'
        f' value="{soft.temperature!r}"><output for="t-{number}" id="t-{number}-value"></output>'
        f'</div><p class="softly" aria-live="polite"></p><div class="samples"></div></div>'
    )


def _samples(page: Page) -> list[list[dict[str, object]]]:
    return [soft.rows for soft in page.softness]


def _left_out(page: Page) -> str:
    found = words.left_out(page.study)
    if not found:
        return ""
    parts = "".join(
        f"<h3>{text(title)}</h3>"
        + (f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>" if lines else "")
        for title, lines in found
    )
    return (
        '<section class="card" id="left-out" aria-labelledby="left-out-title">'
        f'<h2 id="left-out-title">What is left out</h2>{parts}</section>'
    )


def _foot() -> str:
    return (
        f"<footer><p>Made by distill-lab {text(__version__)}. Teacher, student and baseline keep"
        " their colours throughout; the baseline is the same student trained without the teacher."
        "</p></footer>"
    )
