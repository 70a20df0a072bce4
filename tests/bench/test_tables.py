"""Tables of a measurement, made of entries with known numbers."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from distill_lab.bench.entry import DISTURBED
from distill_lab.bench.notes import notes
from distill_lab.bench.report import Line, Report
from distill_lab.bench.subjects import Found, Subject
from distill_lab.bench.tables import as_csv, as_json, as_markdown, as_table
from distill_lab.bench.turns import Ratio
from tests.bench.cases import entry


@pytest.fixture
def report() -> Report:
    teacher = Subject("teacher", "t", None)
    hostile = Subject("[red]<b>a|b</b>", "s", None)
    return Report(
        [
            Line(teacher, entry(model="teacher", energy_j=12.345)),
            Line(
                hostile,
                entry(
                    model=hostile.name,
                    form="onnx-int8",
                    latency_p50_ms=1.2345,
                    flops=None,
                    examples_per_second=1234.5,
                ),
                Ratio(8.1, 7.5, 8.6),
                Ratio(4.115, None, None),
            ),
        ],
        "teacher, eager",
        [("student", "int8", "torchao is not installed"), ("old", "", "it is gone")],
        ["a note"],
    )


def printed(report: Report, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(as_table(report), highlight=False)
    return out.getvalue()


def test_one_model_alone_is_held_against_nothing(report: Report) -> None:
    alone = Report(report.lines[:1], "teacher, eager")
    for text in (printed(alone), as_markdown(alone)):
        assert "p95, ms" in text and "faster" not in text and "in batches  " not in text
    assert "faster alone" in printed(report) and "faster alone" in as_markdown(report)


def test_what_was_disturbed_is_said(report: Report) -> None:
    quiet = Line(Subject("a", "a", None), entry(model="a", latency_spread=DISTURBED))
    noisy = Line(Subject("b", "b", None), entry(model="b", latency_spread=1.63))
    assert notes(Found([], None, []), [], Report([quiet])) == []
    (said,) = notes(Found([], None, []), [], Report([quiet, noisy]))
    assert said.startswith("disturbed: ") and "for b, eager (1.6); " in said


def test_the_terminal_shows_all_and_nothing_that_was_not_measured(report: Report) -> None:
    text = printed(report, 160)
    for said in (
        "22.7 M", "90.9", "2.00", "150", "600", "12.3", "not measured", "10.0", "20.0", "300",
        "1.23", "1,234", "8.10x [7.50, 8.60]", "4.12x", "[red]<b>a|b</b>",
        "a processor (cpu), 2 threads", "50 alone and 128 in batches of 32", "median 52 tokens",
        "10 rounds after 1 of warm-up", "times as fast as teacher, eager",
        "student, int8: not measured: torchao is not installed", "old: not measured: it is gone",
        "a note",
    ):  # fmt: skip
        assert said in text, said


def test_a_terminal_of_100_columns_cuts_no_number(report: Report) -> None:
    long = "objective.temperature=1,objective.lam=0.5,seed=1"
    ratios = Ratio(14.115, 13.25, 15.3), Ratio(9.5, 8.5, 10.25)
    named = entry(model=long, form="onnx-int8", examples_per_second=12345.6)
    report.lines.append(Line(Subject(long, "s", None), named, *ratios))
    text = printed(report)
    assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    for said in ("onnx-int8", "14.1x [13.2, 15.3]", "9.50x [8.50, 10.25]", "12,346"):
        assert said in text, said


def test_one_model_is_held_against_nothing_and_pictures_have_no_tokens() -> None:
    rows = {**entry().rows, "median_length": None}
    alone = Report([Line(Subject("a", "a", None), entry(rows=rows))], "a, eager")
    text = printed(alone, 160)
    assert "times as fast" not in text and "tokens" not in text


def test_json_has_every_field_and_null_for_what_was_not_measured(report: Report) -> None:
    found = json.loads(as_json(report))
    first, second = found["entries"]
    assert found["against"] == "teacher, eager" and found["notes"] == ["a note"]
    assert first["energy_j"] == 12.345 and second["energy_j"] is None and second["flops"] is None
    assert first["latency_times"] is None and second["latency_times_low"] == 7.5
    assert second["throughput_times"] == 4.115 and second["throughput_times_high"] is None
    assert first["rows"]["fingerprint"] == "0" * 16
    assert found["left_out"][1] == {"model": "old", "form": None, "reason": "it is gone"}


def test_csv_is_flat(report: Report) -> None:
    first, second = csv.DictReader(io.StringIO(as_csv(report)))
    assert second["model"] == "[red]<b>a|b</b>" and second["energy_j"] == ""
    assert first["machine_name"] == "a processor" and first["rows_median_length"] == "52"
    assert first["versions"] == "python=3.11.2" and second["latency_times"] == "8.1"


def test_markdown_shows_signs_as_they_are(report: Report) -> None:
    text = as_markdown(report)
    head, rule, first, second = text.splitlines()[2:6]
    assert head.count("|") == rule.count("|") == first.count("|")
    assert second.startswith(r"| [red]&lt;b>a\|b&lt;/b> | onnx-int8 |")
    assert "- student, int8: not measured: torchao is not installed" in text
