"""Published figures that a study is held against: `experiments/published.csv`."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass

from distill_lab.config import experiments_dir

_FILE = "published.csv"
_ALL = "macro"  # the task of a mean over tasks


@dataclass(frozen=True)
class Figure:
    """One published figure.

    Attributes:
        study: Of `experiments/` that is held against it.
        task: As in the results.
        model: What the source measured, in its words.
        metric: What it measured, in its unit.
        value: As printed.
        source: Where, with the protocol.
    """

    study: str
    task: str
    model: str
    metric: str
    value: str
    source: str


def published(studies: Collection[str], tasks: Collection[str]) -> list[Figure]:
    """Return the figures of studies; of several tasks those of the tasks that were run.

    Args:
        studies: Names as in the results; what follows a slash is the task's.
        tasks: Names as in the results. A figure of none of them is returned where the study has
            only such, for example of a larger text than ours.
    """
    wanted = {study.split("/")[0] for study in studies}
    with (experiments_dir() / _FILE).open(encoding="utf-8", newline="") as file:
        figures = [Figure(**row) for row in csv.DictReader(file)]
    found = [figure for figure in figures if figure.study in wanted]
    same = {figure.study for figure in found if figure.task in tasks}
    return [one for one in found if one.study not in same or one.task in (*tasks, _ALL)]
