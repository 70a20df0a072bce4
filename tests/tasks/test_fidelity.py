"""Fidelity and calibration against slow computations by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from distill_lab.better import CALIBRATION_BINS
from distill_lab.results import Result
from distill_lab.tasks.fidelity import fidelity
from distill_lab.types import Problem

CLASSES = Problem("classification", ("a", "b", "c"))


def table(rows: int = 200) -> dict[str, object]:
    random = np.random.default_rng(0)
    found: dict[str, object] = {"id": np.arange(rows), "label": random.integers(3, size=rows)}
    for name in ("teacher", "student", "baseline"):
        logits = random.normal(size=(rows, 3)).astype(np.float32) * 2
        found |= {name: logits.argmax(axis=1), f"{name}_logits": list(logits)}
    return found


def probabilities(logits: object) -> np.ndarray:
    power = np.exp(np.stack(logits).astype(np.float64))
    return power / power.sum(axis=1, keepdims=True)


def test_classes_by_hand() -> None:
    rows = table()
    found = fidelity(CLASSES, rows)
    label, student, teacher = (rows[name] for name in ("label", "student", "teacher"))
    ours, theirs = (probabilities(rows[f"{name}_logits"]) for name in ("student", "teacher"))
    told = found["student"]
    assert told["agreement"] == np.mean(student == teacher)
    divergence = sum(
        t * (math.log(t) - math.log(s)) for a, b in zip(theirs, ours, strict=True)
        for t, s in zip(a, b, strict=True)
    )  # fmt: skip
    assert told["divergence"] == pytest.approx(divergence / 200)
    assert told["nll"] == pytest.approx(
        -np.mean([math.log(p[y]) for p, y in zip(ours, label, strict=True)])
    )
    assert told["only_teacher_right"] == sum((teacher == label) & (student != label))
    assert told["only_model_right"] == sum((teacher != label) & (student == label))
    assert set(found) == {"teacher", "student", "baseline"}
    assert set(found["teacher"]) == {"calibration_error", "nll"}


def test_calibration_error_by_hand() -> None:
    rows = table()
    sure = probabilities(rows["student_logits"]).max(axis=1)
    right = rows["student"] == rows["label"]
    error = 0.0
    for place in range(CALIBRATION_BINS):
        inside = (sure > place / CALIBRATION_BINS) & (sure <= (place + 1) / CALIBRATION_BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert fidelity(CLASSES, rows)["student"]["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_a_student_that_is_its_teacher() -> None:
    rows = table()
    rows |= {"student": rows["teacher"], "student_logits": rows["teacher_logits"]}
    told = fidelity(CLASSES, rows)["student"]
    assert told["agreement"] == 1.0 and told["divergence"] == pytest.approx(0.0, abs=1e-12)
    assert told["only_teacher_right"] == told["only_model_right"] == 0.0


def test_numbers() -> None:
    teacher, student = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0])
    rows = {"label": teacher, "teacher": teacher, "student": student}
    told = fidelity(Problem("regression", ("score",)), rows)
    assert told["student"]["rmse_to_teacher"] == pytest.approx(math.sqrt((0.25 + 1.0) / 3))
    assert told["student"]["correlation_with_teacher"] == pytest.approx(
        np.corrcoef(teacher, student)[0, 1]
    )
    assert "teacher" not in told
    constant = fidelity(Problem("regression", ("score",)), {**rows, "student": np.ones(3)})
    assert "correlation_with_teacher" not in constant["student"]


def test_spans_are_the_same_answer_without_case_and_articles() -> None:
    rows = {
        "label": [["Ann"], ["May"], ["x"]],
        "teacher": ["the Ann", "June", "x"], "teacher_exact": [1.0, 0.0, 1.0],
        "student": ["ann", "May", "y"], "student_exact": [1.0, 1.0, 0.0],
    }  # fmt: skip
    told = fidelity(Problem("spans", ("start", "end")), rows)["student"]
    assert told == {
        "agreement": pytest.approx(1 / 3),
        "only_teacher_right": 1,
        "only_model_right": 1,
    }


def test_words_weigh_their_tokens() -> None:
    rows = {"tokens": np.array([10.0, 30.0]), "student": np.array([1.0, 2.0]),
            "student_accuracy": np.array([0.5, 0.5])}  # fmt: skip
    told = fidelity(Problem("causal_lm", (), 100), rows)
    assert told == {"student": {"nll": pytest.approx(1.75)}}


def test_written_answers() -> None:
    rows = {
        "label": ["1", "2"], "tokens": np.array([3.0, 1.0]),
        "teacher": ["is 1", "is 3"], "teacher_exact": [True, False],
        "student": ["is 1", "is 2"], "student_exact": [True, True],
        "student_loss": np.array([1.0, 5.0]),
    }  # fmt: skip
    told = fidelity(Problem("causal_lm", (), 100), rows)["student"]
    assert told == {
        "agreement": 0.5, "only_teacher_right": 0.0, "only_model_right": 1.0, "nll": 2.0,
    }  # fmt: skip


def test_what_has_diverged_is_left_out() -> None:
    rows = table()
    rows["student_logits"] = [row * np.nan for row in rows["student_logits"]]
    told = fidelity(CLASSES, rows)
    assert "divergence" not in told["student"] and math.isfinite(told["baseline"]["divergence"])


def test_every_run_tells_it(lab: Callable[..., Result]) -> None:
    told = lab("trainer.max_steps=2").fidelity
    assert set(told) == {"teacher", "student", "baseline"}
    assert 0 <= told["student"]["agreement"] <= 1 and told["student"]["divergence"] > 0
