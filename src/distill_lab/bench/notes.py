"""What is to be said of models that were measured together."""

from __future__ import annotations

from collections.abc import Sequence

from distill_lab.bench.entry import DISTURBED
from distill_lab.bench.prepare import Prepared
from distill_lab.bench.report import Report
from distill_lab.bench.subjects import Found


def notes(found: Found, prepared: Sequence[Prepared], report: Report) -> list[str]:
    """Return sentences on models that are one, rows that differ, and a machine that was busy.

    Args:
        found: What was named.
        prepared: What was measured of it.
        report: What came of it.
    """
    return [*_shared(found), *_read(prepared), *_disturbed(report)]


def _shared(found: Found) -> list[str]:
    """Return which models were named more than once."""
    said = []
    for each in (one for one in found.subjects if one.times > 1):
        roles = ", ".join(f"{role} of {folder}" for folder, role in each.owners)
        said.append(f"{each.name} ({roles}): named {each.times} times, measured once")
    return said


def _disturbed(report: Report) -> list[str]:
    """Return a sentence where the machine did other things while it was measured."""
    noisy = [line.entry for line in report.lines if line.entry.latency_spread > DISTURBED]
    if not noisy:
        return []
    each = ", ".join(f"{one.model}, {one.form} ({one.latency_spread:.1f})" for one in noisy)
    return [
        f"disturbed: the slowest round's median latency over the fastest's is above {DISTURBED}"
        f" for {each}; the machine did other things, so trust the ratios rather than the"
        " milliseconds, or measure again"
    ]


def _read(prepared: Sequence[Prepared]) -> list[str]:
    """Return what is to be said of models and rows."""
    told = [f"{each.subject.name}: {note}" for each in prepared for note in each.notes]
    medians = {each.subject.name: each.passes.rows["median_length"] for each in prepared}
    if len(set(medians.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in medians.items())
        told.append(f"each model reads the texts in tokens of its own; median of a row: {said}")
    kinds = {each.problem.kind for each in prepared}
    if kinds & {"causal_lm", "masked_lm"}:
        told.append("a language model is measured at reading a text, not at writing one")
    return told
