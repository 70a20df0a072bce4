"""A study's sections in order, the same for the page and for markdown."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distill_lab.better import LOWER
from distill_lab.results.compare import Comparison, Line
from distill_lab.results.report import words
from distill_lab.results.report.answers import Answers, Floats, answers_of
from distill_lab.results.report.calibration import reliability_of
from distill_lab.results.report.curves import curves_of
from distill_lab.results.report.figure import Figure, Grid
from distill_lab.results.report.heat import map_of
from distill_lab.results.report.pareto import front_of
from distill_lab.results.report.parts import by_class, by_length
from distill_lab.results.report.run_rows import RunRow, run_rows
from distill_lab.results.report.softness import Softness, softness_of
from distill_lab.results.report.study import Study, read_study
from distill_lab.results.report.texts import Texts, read_texts


@dataclass(frozen=True)
class Section:
    """One comparison with its pictures.

    Attributes:
        key: Names it in links; letters, digits and hyphens.
        title: What is compared.
        apart: Why it is not in one table with the first.
        summary: What came of it, in sentences.
        table: Teacher, baselines and students.
        figures: Map, curves, classes, lengths, calibration.
    """

    key: str
    title: str
    apart: str
    summary: Sequence[str]
    table: Grid
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Page:
    """All that is shown of a study.

    Attributes:
        study: What was read.
        sections: One for each set of runs that can be compared.
        fronts: Pareto fronts, one for each set of rows that was scored.
        softness: Sample rows of each teacher.
        runs: The table of runs.
    """

    study: Study
    sections: Sequence[Section]
    fronts: Sequence[Figure]
    softness: Sequence[Softness] = ()
    runs: Sequence[RunRow] = field(default=())

    def figures(self) -> list[tuple[str, Figure]]:
        """Return all figures with a name for a file each, those of the first comparison first."""
        many = len(self.sections) > 1
        found = [
            (f"{section.key}_{figure.key}" if many else figure.key, figure)
            for section in self.sections
            for figure in section.figures
        ]
        return [*found, *((front.key, front) for front in self.fronts)]


def read_page(paths: Sequence[Path], *, texts: bool = False) -> Page:
    """Read a study and draw it.

    Args:
        paths: Folders of studies or runs.
        texts: Whether sample rows are shown with their texts.

    Raises:
        DataError: If a folder is not there or holds no finished run.
    """
    return draw(read_study(paths), texts=texts)


def draw(study: Study, *, texts: bool = False) -> Page:
    """Return the sections and figures of a study that was read."""
    sections: list[Section] = []
    soft: dict[str, Softness] = {}
    for number, comparison in enumerate(study.comparisons, 1):
        best = comparison.students[0]
        answers = answers_of(best)
        read = _texts(best) if texts else Texts()
        sections.append(_section(f"group-{number}", comparison, answers, read))
        teacher = best.results[0].fingerprints.get("teacher", "") + comparison.task
        if teacher not in soft:
            soft[teacher] = _softness(comparison, best, answers, read)
    return Page(study, sections, _fronts(study), list(soft.values()), run_rows(study))


def _section(key: str, comparison: Comparison, answers: Answers, read: Texts) -> Section:
    students = comparison.students
    lengths, fault = _lengths(answers, read)
    by_lengths = by_length(answers, lengths, "characters")
    if fault and not by_lengths.views:
        by_lengths = Figure(by_lengths.key, by_lengths.title, about=[*by_lengths.about, fault])
    figures = [
        map_of(students), curves_of(students), by_class(answers), by_lengths,
        reliability_of(answers),
    ]  # fmt: skip
    apart = f"Kept apart from the first comparison: {', '.join(comparison.apart)}." if (
        comparison.apart
    ) else ""  # fmt: skip
    title = f"{comparison.task}: teacher {comparison.teacher}, student {comparison.student}"
    return Section(key, title, apart, words.summary(comparison), words.table(comparison), figures)


def _texts(line: Line) -> Texts:
    folder = line.results[0].folder
    return read_texts(folder) if folder else Texts(fault="the run lies in no folder")


def _lengths(answers: Answers, read: Texts) -> tuple[Floats | None, str]:
    """Return the characters of the rows that were answered, or why they are not known."""
    if not read.by_split or not answers.runs:
        return None, f"Texts could not be read: {read.fault}." if read.fault else ""
    run = answers.runs[0]
    try:
        found = [
            len(read.by_split[split][int(row)])
            for split, row in zip(run.split, run.ids, strict=True)
        ]
    except (KeyError, ValueError):
        return None, "The rows of the files are not those that were answered."
    return np.array(found, dtype=np.float64), ""


def _softness(comparison: Comparison, best: Line, answers: Answers, read: Texts) -> Softness:
    known = best.label.get("objective.temperature") or (
        best.results[0].config.get("objective", {}).get("temperature", 1.0)
    )
    temperature = float(known) if re.fullmatch(r"[\d.]+", str(known)) else 1.0
    first = answers.runs[0].split[0] if answers.runs and len(answers.runs[0].split) else ""
    found = softness_of(answers, comparison.teacher, temperature, read.by_split.get(str(first)))
    return found


def _fronts(study: Study) -> list[Figure]:
    """Return a front for each set of rows and metric, students of any architecture together."""
    scored: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for comparison in study.comparisons:
        run = comparison.students[0].results[0]
        own = run.fingerprints.get("tokenizer", "") if comparison.metric in LOWER else ""
        key: tuple[str, ...] = (
            comparison.task,
            run.fingerprints.get("evaluation", ""),
            comparison.metric,
            own,
        )
        scored[key] += comparison.students
    many = len(scored) > 1
    fronts = []
    for number, (key, lines) in enumerate(scored.items(), 1):
        front = front_of(lines, f"pareto-{number}" if many else "pareto")
        title = f"{key[0]}: {front.title}" if many else front.title
        fronts.append(Figure(front.key, title, front.views, front.about, "Cost", 440))
    return fronts
