"""From the columns of `predictions.parquet` to a metric of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.results import rowwise
from distill_lab.results.rowwise import Scored

MAIN = "evaluation"
_OF_CLASSES = {"f1": rowwise.f1, "f1_macro": rowwise.f1_macro, "matthews": rowwise.matthews}
_OF_NUMBERS: dict[str, Callable[..., Scored]] = {
    "pearson": rowwise.linear, "spearman": rowwise.Ranked,
}  # fmt: skip
_OF_WORDS = ("perplexity", "accuracy")
_KNOWN = ("accuracy", "exact", "perplexity", *_OF_CLASSES, *_OF_NUMBERS)
_ABOUT_ROWS = ("tokens", "label")
Columns = Mapping[str, npt.NDArray[Any]]


class NotThere(ValueError):
    """A metric that the rows of a file do not tell."""


def of_rows(names: Collection[str]) -> list[str]:
    """Return the columns that say what was asked, of those that metrics are computed from."""
    return [name for name in _ABOUT_ROWS if name in names]


def of_model(model: str, names: Collection[str]) -> list[str]:
    """Return the columns of a model that metrics are computed from."""
    wanted = [model, *(f"{model}_{one}" for one in ("loss", *_KNOWN))]
    return [name for name in wanted if name in names]


def base_and_set(metric: str, sets: Collection[str]) -> tuple[str, str]:
    """Return the plain name of a metric and the evaluation set that it is of.

    Args:
        metric: As in the result: that of another than the main set ends in `_SET`.
        sets: Names of the evaluation sets.

    Raises:
        NotThere: If it is settled by more than the rows, or unknown.
    """
    if metric in _KNOWN:
        return metric, MAIN
    for base in _KNOWN:
        rest = metric.removeprefix(f"{base}_")
        if rest != metric and rest in sets:
            return base, rest
    raise NotThere(f"{metric} is not a metric that single rows tell")


def scored(base: str, model: str, columns: Columns) -> Scored:
    """Return a model's answers to the rows of one evaluation set under a metric.

    Args:
        base: The plain name of the metric.
        model: Such as "student".
        columns: Of the file, numbers alone, as `of_rows` and `of_model` name them.

    Raises:
        NotThere: If the columns do not tell it.
    """
    own, tokens = columns.get(f"{model}_{base}"), columns.get("tokens")
    found: Scored | None = None
    if tokens is not None and base in _OF_WORDS:
        found = _of_words(base, model, columns, tokens.astype(np.float64))
    elif own is not None:
        found = rowwise.mean_of(own.astype(np.float64))
    elif model in columns and "label" in columns:
        found = _of_labels(base, columns[model], columns["label"])
    if found is None:
        raise NotThere(f"predictions.parquet does not hold what {base} is computed from")
    return found


def _of_words(
    base: str, model: str, columns: Columns, tokens: npt.NDArray[np.float64]
) -> Scored | None:
    if base == "accuracy":
        own = columns.get(f"{model}_accuracy")
        return None if own is None else rowwise.mean_of(own.astype(np.float64), tokens)
    loss = columns.get(f"{model}_loss", columns.get(model))
    return None if loss is None else rowwise.perplexity(loss.astype(np.float64), tokens)


def _of_labels(base: str, answers: npt.NDArray[Any], label: npt.NDArray[Any]) -> Scored | None:
    if base in _OF_NUMBERS:
        return _OF_NUMBERS[base](answers.astype(np.float64), label.astype(np.float64))
    given, true = answers.astype(np.int64), label.astype(np.int64)
    if base == "accuracy":
        return rowwise.mean_of((given == true).astype(np.float64))
    return _OF_CLASSES[base](given, true) if base in _OF_CLASSES else None
