"""Metrics from sums over rows are those of torchmetrics and scipy, in every sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill_lab.results import rowwise
from distill_lab.results.resampling import Resamples
from distill_lab.tasks.metrics import METRICS, compute
from distill_lab.tasks.token_scores import WORST
from distill_lab.tasks.token_scores import perplexity as told
from distill_lab.types import Problem

CLASSES = {
    "accuracy": lambda p, y: rowwise.mean_of((p == y).astype(np.float64)),
    "f1": rowwise.f1,
    "f1_macro": rowwise.f1_macro,
    "matthews": rowwise.matthews,
}
NUMBERS = {"pearson": rowwise.linear, "spearman": rowwise.Ranked}


def theirs(metric: str, predicted: np.ndarray, label: np.ndarray, labels: int) -> float:
    if metric in NUMBERS:
        problem = Problem("regression", ("score",))
        logits = torch.from_numpy(predicted)[:, None]
    else:
        problem = Problem("classification", tuple(map(str, range(labels))))
        logits = torch.nn.functional.one_hot(torch.from_numpy(predicted), labels).float()
    return compute([metric], problem, logits, torch.from_numpy(label))[metric]


def drawn(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label = random.integers(labels, size=rows)
    return np.where(random.random(rows) < 0.7, label, random.integers(labels, size=rows)), label


def test_every_metric_of_the_tasks_is_here() -> None:
    assert METRICS.keys() == CLASSES.keys() | NUMBERS.keys()


@pytest.mark.parametrize("metric", CLASSES)
@pytest.mark.parametrize("labels", [2, 3])
def test_classes(metric: str, labels: int) -> None:
    if metric == "f1" and labels > 2:
        pytest.skip("binary")
    for seed in range(5):
        predicted, label = drawn(37, labels, seed)
        assert CLASSES[metric](predicted, label).value() == pytest.approx(
            theirs(metric, predicted, label, labels), abs=1e-6
        )


@pytest.mark.parametrize("metric", [*CLASSES, *NUMBERS])
def test_every_sample_is_the_metric_of_its_rows(metric: str) -> None:
    predicted, label = drawn(30, 2, 0)
    if metric in NUMBERS:  # with ties
        predicted, label = (np.round(np.random.default_rng(s).random(30), 1) for s in (1, 2))
    samples = Resamples(30, 20, seed=3)
    model = {**CLASSES, **NUMBERS}[metric](predicted, label)
    found = rowwise.over([model, model], samples)
    assert found[0] == pytest.approx(found[1])
    for value, counts in zip(found[0], samples.counts, strict=True):
        at = np.repeat(np.arange(30), counts)
        assert value == pytest.approx(theirs(metric, predicted[at], label[at], 2), abs=1e-6)


@pytest.mark.parametrize("metric", [*CLASSES, *NUMBERS])
def test_constant_answers_are_no_trouble(metric: str) -> None:
    predicted, label = np.zeros(20, dtype=np.int64), np.arange(20) % 2
    if metric in NUMBERS:
        predicted, label = predicted.astype(float), label.astype(float)
    model = {**CLASSES, **NUMBERS}[metric](predicted, label)
    assert model.value() == pytest.approx(theirs(metric, predicted, label, 2), abs=1e-6)
    assert np.isfinite(rowwise.over([model], Resamples(20, 50))[0]).all()


def test_perplexity_weighs_tokens() -> None:
    loss, tokens = np.array([1.0, 3.0, 2.0]), np.array([10.0, 1.0, 4.0])
    assert rowwise.perplexity(loss, tokens).value() == pytest.approx(told(21.0, 15.0))
    assert rowwise.perplexity(np.array([np.inf]), np.array([1.0])).value() == told(np.inf, 1.0)
    assert rowwise.WORST == WORST


def test_samples_draw_as_many_rows_as_there_are() -> None:
    samples = Resamples(50, 30)
    assert (samples.counts.sum(axis=1) == 50).all()
    assert np.array_equal(samples.counts, Resamples(50, 30).counts)
    assert not np.array_equal(samples.counts, Resamples(50, 30, seed=1).counts)


def test_sums_are_exact_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for columns in (random.random((40, 3)), random.integers(2, size=(40, 3)).astype(float)):
        whole = Resamples(40, 25).sums(columns)
        assert whole == pytest.approx(Resamples(40, 25).counts.astype(float) @ columns)
        monkeypatch.setattr("distill_lab.results.resampling._AT_ONCE", 100)
        assert Resamples(40, 25).sums(columns) == pytest.approx(whole)
        monkeypatch.undo()
