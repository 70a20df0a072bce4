"""How soft the teacher's targets are: sample rows whose logits the page divides by T itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill_lab.results.report.answers import Answers, OfRun
from distill_lab.results.report.calibration import softmax

_QUANTILES = (0.0, 0.5, 0.9, 0.97, 0.995, 1.0)
_CLASSES = 10  # bars of a row; the others are one


@dataclass(frozen=True)
class Softness:
    """Sample rows of one teacher.

    Attributes:
        teacher: Its name.
        rows: For each `id`, `label` (its true one), `names` and `logits` of the classes, highest
            first, `rest` (logits of the classes without a bar), and `text` where it is shown.
        about: What is said above them, or why there are none.
        temperature: T at which the page opens.
    """

    teacher: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    about: str = ""
    temperature: float = 1.0


def softness_of(
    answers: Answers, teacher: str, temperature: float, texts: Mapping[int, str] | None = None
) -> Softness:
    """Return sample rows from those of which the teacher is surest to those it doubts most.

    Args:
        answers: Of one setting; its first run is looked at.
        teacher: The teacher's name.
        temperature: T at which the page opens.
        texts: Of the rows by id, where they may be shown.
    """
    run = next((run for run in answers.runs if "teacher" in run.logits), None)
    if run is None or run.kind != "classification":
        why = "; ".join(answers.faults) or "its answers are no classes, or its logits are not kept"
        return Softness(teacher, about=f"Not shown: {why}.")
    logits = run.logits["teacher"]
    places = samples(logits)
    rows = [_row(run, place, logits[place], texts) for place in places]
    about = (
        "The student does not learn the label alone but how the teacher shares its answer among"
        f" all classes, softmax(z / T). Here are {len(rows)} rows of the evaluation split, from"
        " the surest to the most doubtful at T = 1."
    )
    return Softness(teacher, rows, about, temperature)


def samples(logits: Any) -> list[int]:
    """Return places of rows at quantiles of the teacher's entropy, surest first.

    Most rows are sure ones that look alike, so more than half are of the most doubtful tenth.
    """
    shares = softmax(logits)
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=1)
    order = np.argsort(entropy, kind="stable")
    at = dict.fromkeys(round(quantile * (len(order) - 1)) for quantile in _QUANTILES)
    return [int(order[place]) for place in at]


def _row(run: OfRun, place: int, logits: Any, texts: Mapping[int, str] | None) -> dict[str, Any]:
    order = np.argsort(-logits, kind="stable")
    shown = order[:_CLASSES]
    row: dict[str, Any] = {
        "id": str(run.ids[place]),
        "names": [_name(run, c) for c in shown],
        "logits": [round(float(logits[c]), 4) for c in shown],
        "rest": [round(float(logits[c]), 4) for c in order[_CLASSES:]],
    }
    if run.label is not None and run.label[place] >= 0:
        row["label"] = _name(run, int(run.label[place]))
    text = (texts or {}).get(int(run.ids[place]))
    if text is not None:
        row["text"] = text
    return row


def _name(run: OfRun, number: int) -> str:
    return run.labels[number] if number < len(run.labels) else str(number)
