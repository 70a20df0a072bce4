"""Metrics against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch

from distill_lab.errors import ConfigError
from distill_lab.tasks.metrics import METRICS, chance, compute, fit_problem
from distill_lab.types import Problem

TWO = Problem("classification", ("no", "yes"))
THREE = Problem("classification", ("a", "b", "c"))
NUMBER = Problem("regression", ("score",))
REFERENCES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": sklearn.metrics.f1_score,
    "f1_macro": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro"),
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda y, p: scipy.stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: scipy.stats.spearmanr(y, p).statistic,
}


def test_every_metric_has_a_reference() -> None:
    assert set(REFERENCES) == set(METRICS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("problem", [TWO, THREE, NUMBER], ids=lambda p: f"{p.kind}{p.num_labels}")
def test_metrics_equal_their_references(problem: Problem, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(200, problem.num_labels, generator=generator)
    if problem.kind == "regression":
        labels = logits[:, 0] + torch.randn(200, generator=generator).round()
        predicted = logits[:, 0]
    else:
        labels = torch.randint(problem.num_labels, (200,), generator=generator)
        predicted = logits.argmax(dim=1)
    for name, reference in REFERENCES.items():
        try:
            fit_problem([name], problem)
        except ConfigError:
            continue
        ours = compute([name], problem, logits, labels)[name]
        assert ours == pytest.approx(reference(labels.numpy(), predicted.numpy()), abs=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_outliers_and_ties_are_no_trouble(offset: float) -> None:
    """In float32 squares of outliers drown the rest, and ranks of many ties overflow."""
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(5000, 1, generator=generator) + offset
    predicted[7] = 1e4 + offset
    labels = (predicted[:, 0] - offset + torch.randn(5000, generator=generator)).round()
    found = compute(["pearson", "spearman"], NUMBER, predicted, labels)
    for name in found:
        expected = REFERENCES[name](labels.double().numpy(), predicted[:, 0].double().numpy())
        assert found[name] == pytest.approx(expected, abs=1e-6)
        assert expected > 0.4


def test_constant_predictions_have_no_correlation() -> None:
    assert compute(["pearson"], NUMBER, torch.ones(5, 1), torch.arange(5.0)) == {"pearson": 0.0}
    zeros = torch.tensor([[1.0, 0.0]]).repeat(40, 1)
    for labels in (torch.arange(40) % 2, (torch.arange(40) < 3).long()):
        assert compute(["matthews"], TWO, zeros, labels) == {"matthews": 0.0}


def test_chance_is_the_most_frequent_training_label() -> None:
    train, labels = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0, 0])
    assert chance("accuracy", TWO, train, labels) == 0.25
    assert chance("matthews", TWO, train, labels) == 0.0
    assert chance("pearson", NUMBER, train, labels) == 0.0


def test_f1_needs_two_labels() -> None:
    with pytest.raises(ConfigError, match="f1_macro"):
        fit_problem(["f1"], THREE)


def test_main_metric_comes_first() -> None:
    logits, labels = torch.randn(10, 2), torch.tensor(np.arange(10) % 2)
    assert list(compute(["f1", "accuracy"], TWO, logits, labels)) == ["f1", "accuracy"]
