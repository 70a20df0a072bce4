"""Comparisons as text for papers and programs: markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill_lab.results.cells import flatten
from distill_lab.results.columns import columns
from distill_lab.results.compare import Comparison, Line
from distill_lab.results.published import Figure
from distill_lab.results.result import Result
from distill_lab.results.words import figures_text, notes

FORMATS = ("table", "markdown", "latex", "csv", "json", "runs")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "λ": r"$\lambda$",
}  # fmt: skip
_LATEX_SIGN = re.compile("[" + re.escape("".join(_LATEX)) + "]")
_MARKDOWN_SIGN = re.compile(r"[\\`*_\[\]<>|#&~]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute
_OF_GAIN = ("mean", "sd", "low", "high", "p", "adjusted", "verdict", "test", "why_not", "differing")


def markdown(comparisons: Sequence[Comparison], published: Sequence[Figure] = ()) -> str:
    """Return tables for GitHub and most other readers of markdown; signs of theirs are escaped."""
    parts = []
    for one in comparisons:
        shown = columns(one)
        rows = zip(*(map(_in_markdown, column.cells) for column in shown), strict=True)
        parts += [
            f"**{_in_markdown(one.title)}**",
            "",
            _barred(_in_markdown(column.heading) for column in shown),
            _barred("---" if column.is_text else "---:" for column in shown),
            *map(_barred, rows),
            "",
            *(f"- {_in_markdown(note)}" for note in notes(one)),
            "",
        ]
    parts += [f"- {_in_markdown(line)}" for line in figures_text(published)]
    return "\n".join(parts).rstrip("\n") + "\n"


def latex(comparisons: Sequence[Comparison], published: Sequence[Figure] = ()) -> str:
    """Return `tabular`s with lines of the package booktabs; notes stand in comments below."""
    parts = []
    for one in comparisons:
        shown = columns(one)
        rows = zip(*(map(_in_latex, column.cells) for column in shown), strict=True)
        parts += [
            f"% {_one_line(one.title)}",
            r"\begin{tabular}{" + "".join("l" if c.is_text else "r" for c in shown) + "}",
            r"\toprule",
            " & ".join(_in_latex(column.heading) for column in shown) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {_one_line(note)}" for note in notes(one)),
            "",
        ]
    parts += [f"% {_one_line(line)}" for line in figures_text(published)]
    return "\n".join(parts).rstrip("\n") + "\n"


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """Return one line for each model of each comparison, with unrounded numbers."""
    lines = [
        {
            "comparison": number,
            "study": " ".join(one.studies),
            "task": one.task,
            "teacher": one.teacher,
            "student": one.student,
            **_flat(one, line),
        }
        for number, one in enumerate(comparisons, 1)
        for line in one.lines
    ]
    return _written(lines)


def runs(results: Iterable[Result]) -> str:
    """Return one line for each run: where it lies, its settings, the metrics of all models."""
    return _written([_of_run(result) for result in results])


def as_json(
    comparisons: Sequence[Comparison], left_out: Sequence[str], published: Sequence[Figure] = ()
) -> str:
    """Return everything: comparisons with notes, what was left out, published figures."""
    content = {
        "comparisons": [
            {
                "task": one.task,
                "teacher": one.teacher,
                "student": one.student,
                "studies": one.studies,
                "metric": one.metric,
                "rows": one.rows,
                "apart": list(one.apart),
                "lines": [_plain(line) for line in one.lines],
                "notes": notes(one),
            }
            for one in comparisons
        ],
        "left_out": list(left_out),
        "published": [asdict(figure) for figure in published],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(line: Line) -> dict[str, Any]:
    return {
        "model": line.model,
        "label": line.label,
        "seeds": line.seeds,
        "selection": line.selection,
        "metrics": {name: asdict(spread) for name, spread in line.metrics.items()},
        "gains": {
            name: {**asdict(gain), "seeds": gain.seeds, "verdict": gain.verdict}
            for name, gain in line.gains.items()
        },
        "retention": line.retention,
        "parameters": line.parameters,
        "fidelity": line.fidelity,
        "folders": [str(folder) for folder in line.folders],
    }


def _flat(comparison: Comparison, line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {"model": line.model}
    found |= {key: line.label.get(key) for key in comparison.keys}
    found |= {"seeds": " ".join(map(str, line.seeds)), "selection": line.selection}
    for name, spread in line.metrics.items():
        found |= {name: spread.mean, f"{name}_sd": spread.sd}
    for name, gain in line.gains.items():
        found |= {
            "gain_" + (name if key == "mean" else f"{name}_{key}"): getattr(gain, key)
            for key in _OF_GAIN
        }
    found |= {"retention": line.retention, "parameters": line.parameters}
    return found | {f"fidelity_{name}": value for name, value in line.fidelity.items()}


def _of_run(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {"folder": result.folder, "study": result.study, "seed": result.seed}
    found |= {"task": result.task, "teacher_name": result.choices.get("teacher_name")}
    for model, metrics in result.metrics.items():
        found |= {f"{model}_{name}": value for name, value in metrics.items()}
    found |= {"gain": result.gain, "retention": result.retention}
    for model, cost in result.cost.items():
        found |= {f"{model}_{name}": value for name, value in cost.items()}
    for model, told in result.fidelity.items():
        found |= {f"{model}_{name}": value for name, value in told.items()}
    settings = {key: value for key, value in flatten(result).items() if key != "task"}
    return found | {f"setting:{key}": value for key, value in settings.items()}


def _written(lines: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _for_a_sheet(value) for key, value in line.items()} for line in lines)
    return out.getvalue()


def _for_a_sheet(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    told = "" if value is None else value
    if isinstance(told, (int, float)):
        return told
    text = str(told)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _in_markdown(text: str) -> str:
    return _MARKDOWN_SIGN.sub(r"\\\g<0>", _one_line(text))


def _in_latex(text: str) -> str:
    return _LATEX_SIGN.sub(lambda found: _LATEX[found[0]], _one_line(text))


def _barred(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
