"""The table of runs as HTML: searched, sorted, each run with a command to copy."""

from __future__ import annotations

from collections.abc import Sequence

from distill_lab.results.report.elements import entry, heading, text
from distill_lab.results.report.run_rows import RunRow, said_of_command

_NUMBER = ' class="number"'
_ABOUT = (
    "Each run, in the order of the comparison. Its command repeats it from the folder in which it"
    " was typed: student anew, in a folder of its own; teacher and baseline come from the store."
)


def runs_section(rows: Sequence[RunRow]) -> str:
    """Return the section with search field and table."""
    metrics = list(dict.fromkeys(row.metric for row in rows if row.metric))
    scored = metrics[0] if len(metrics) == 1 else "main metric"
    words, numbers = ("settings", "folder", "status"), ("seed", scored, "gain", "selection")
    names = [*words[:1], *numbers, "seconds", *words[2:], *words[1:2]]
    heads = "".join(heading(name, "" if name in words else _NUMBER) for name in names)
    lines = "".join(_run(row) for row in rows)
    return (
        '<section class="card" id="runs" aria-labelledby="runs-title"><h2 id="runs-title">Runs</h2>'
        f'<p class="about" id="runs-about">{_ABOUT}</p>'
        '<div class="tools"><label for="search">Search the runs</label>'
        '<input type="search" id="search" autocomplete="off" spellcheck="false">'
        f'<span id="found" role="status" aria-live="polite">{_count(len(rows))}</span></div>'
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="runs-title">'
        '<table id="run-table" class="sortable" aria-describedby="runs-about">'
        '<caption class="unseen">Runs</caption>'
        f'<thead><tr>{heads}<th scope="col">command</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div></section>"
    )


def _count(rows: int) -> str:
    return "1 run" if rows == 1 else f"{rows} runs"


def _run(row: RunRow) -> str:
    told = [
        ("" if value is None else form.format(value))
        for value, form in (
            (row.seed, "{}"), (row.student, "{:.4f}"), (row.gain, "{:+.4f}"),
            (row.selection, "{:.4f}"), (row.seconds, "{:,.0f}"),
        )
    ]  # fmt: skip
    cells = [
        entry(row.settings or row.name, ' class="settings"', head=True),
        *(entry(number, _NUMBER) for number in told),
        f'<td><span class="status {text(row.status)}">{text(row.status)}</span></td>',
        entry(row.name, ' class="folder"'),
        _command(row),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _command(row: RunRow) -> str:
    told = text(said_of_command(row))
    if not row.command:
        return f'<td class="command">{told}</td>'
    name = text(row.name)
    return (
        f'<td class="command"><div><button type="button" class="copy" aria-label="Copy the command'
        f' of {name}">Copy</button><button type="button" class="show" aria-expanded="false"'
        f' aria-label="Show the whole command of {name}">Show</button><code>{told}</code>'
        "</div></td>"
    )
