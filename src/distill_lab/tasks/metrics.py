"""Metrics by name, computed by torchmetrics and scipy from logits and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_f1_score,
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
)

from distill_lab.errors import ConfigError
from distill_lab.types import Problem


def _matthews(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    # torchmetrics gives a small number of either sign where the correlation is undefined;
    # scikit-learn, and so the published GLUE figures, give 0.
    if len(predicted.unique()) < 2 or len(labels.unique()) < 2:
        return torch.tensor(0.0)
    return multiclass_matthews_corrcoef(predicted, labels, num_classes=classes)


def _correlation(name: str, predicted: Tensor, labels: Tensor) -> Tensor:
    """Return a correlation in float64, in which outliers and many ties are no trouble."""
    from scipy import stats  # a second of imports

    if len(predicted.unique()) < 2 or len(labels.unique()) < 2:
        return torch.tensor(0.0)
    found = getattr(stats, name)(predicted.double().numpy(), labels.double().numpy()).statistic
    return torch.tensor(float(found))


# Each takes predictions [rows], labels [rows] and the number of labels.
METRICS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "accuracy": lambda p, y, c: multiclass_accuracy(p, y, num_classes=c, average="micro"),
    "f1": lambda p, y, c: binary_f1_score(p, y),
    "f1_macro": lambda p, y, c: multiclass_f1_score(p, y, num_classes=c, average="macro"),
    "matthews": _matthews,
    "pearson": lambda p, y, c: _correlation("pearsonr", p, y),
    "spearman": lambda p, y, c: _correlation("spearmanr", p, y),
}
_REGRESSION = {"pearson", "spearman"}


def fit_problem(metrics: Sequence[str], problem: Problem) -> None:
    """Refuse metrics that mean nothing for the problem.

    Raises:
        ConfigError: For a correlation of classes, a score of classes for numbers, or binary F1
            where there are not two labels.
    """
    for name in metrics:
        if (name in _REGRESSION) != (problem.kind == "regression"):
            raise ConfigError(f"task.metrics: {name} is not defined for {problem.kind}")
        if name == "f1" and problem.num_labels != 2:
            raise ConfigError(
                f"task.metrics: f1 needs two labels, the task has {problem.num_labels};"
                " use f1_macro"
            )


def predictions(logits: Tensor, problem: Problem) -> Tensor:
    """Return class ids, or numbers for regression, `[rows]`."""
    return logits[:, 0] if problem.kind == "regression" else logits.argmax(dim=1)


def compute(
    metrics: Sequence[str], problem: Problem, logits: Tensor, labels: Tensor
) -> dict[str, float]:
    """Compute metrics.

    Args:
        metrics: Names, the main one first.
        problem: Says how logits become predictions.
        logits: `[rows, labels]`.
        labels: `[rows]`.

    Returns:
        Name to value; a correlation that is undefined (constant predictions) counts as 0.
    """
    predicted = predictions(logits.float(), problem)
    values = {}
    for name in metrics:
        value = METRICS[name](predicted, labels, problem.num_labels)
        values[name] = float(torch.nan_to_num(value, nan=0.0))
    return values


def chance(metric: str, problem: Problem, train_labels: Tensor, labels: Tensor) -> float:
    """Return the metric of the best constant answer: what a model that learned nothing gets.

    Args:
        metric: Name of the metric.
        problem: Classification or regression.
        train_labels: Labels of the training rows; their most frequent is the answer.
        labels: Labels of the rows that are scored.
    """
    if problem.kind == "regression" or metric == "matthews":
        return 0.0
    answer = train_labels.mode().values
    logits = torch.zeros(len(labels), problem.num_labels)
    logits[:, int(answer)] = 1.0
    return compute([metric], problem, logits, labels)[metric]
