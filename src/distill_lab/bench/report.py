"""What a measurement has found: kept in the results of the runs, told to people."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from distill_lab.bench.entry import Entry, record
from distill_lab.bench.subjects import Subject
from distill_lab.bench.turns import Ratio


@dataclass(frozen=True)
class Line:
    """One model in one form.

    Attributes:
        subject: Which.
        entry: What was measured, under the subject's name.
        soon: How many times as soon as the reference it answers a row; None where there is none.
        many: How many times as many rows it answers in batches.
    """

    subject: Subject
    entry: Entry
    soon: Ratio | None = None
    many: Ratio | None = None


@dataclass
class Report:
    """What was measured.

    Attributes:
        lines: In the order of the subjects, and of the forms.
        against: What the others are held against; empty where nothing is.
        left_out: What could not be measured: name, form (empty for all of them), reason.
        notes: What else is to be said.
    """

    lines: list[Line] = field(default_factory=list)
    against: str = ""
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def missing(self) -> list[str]:
        """Return sentences about what could not be measured."""
        return [
            f"{name}{form and f', {form}'}: not measured: {reason}"
            for name, form, reason in self.left_out
        ]


def keep(report: Report) -> list[Path]:
    """Add what was measured to the results of the runs whose models they are.

    Returns:
        The runs.

    Raises:
        DiskError: If the disk is full, or a folder may not be written to.
    """
    entries: dict[Path, list[Entry]] = {}
    for line in report.lines:
        for folder, model in line.subject.owners:
            entries.setdefault(folder, []).append(replace(line.entry, model=model))
    for folder, new in entries.items():
        record(folder, new)
    return list(entries)
