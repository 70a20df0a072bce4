"""From the columns of `predictions.parquet` to a metric of a model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill_lab.results import rowwise
from distill_lab.results.predictions import Predictions
from distill_lab.results.rowwise import Scored

MAIN = "evaluation"
_OF_CLASSES = {"f1": rowwise.f1, "f1_macro": rowwise.f1_macro, "matthews": rowwise.matthews}
_OF_WORDS = ("perplexity", "accuracy")
_KNOWN = ("f1_macro", "accuracy", "exact", "f1", "matthews", "pearson", "spearman", "perplexity")


class NotThere(ValueError):
    """A metric that the rows of a file do not tell."""


def scored(metric: str, model: str, predictions: Predictions) -> tuple[Scored, str]:
    """Return a model's answers under a metric, and the evaluation set that it is of.

    Args:
        metric: As in the result: that of another than the main set ends in `_SET`.
        model: Such as "student".
        predictions: Of one run.

    Raises:
        NotThere: If the file does not hold what the metric is computed from.
        DataError: If the file is damaged.
    """
    wanted = [f"{model}_{metric}", model, f"{model}_loss", f"{model}_accuracy", "tokens", "label"]
    sets = predictions.columns(["split"])["split"].astype(str)
    base, split = _base(metric, set(sets))
    wanted[0] = f"{model}_{base}"
    here = [name for name in dict.fromkeys(wanted) if name in predictions.names]
    columns = {n: v[sets == split] for n, v in predictions.columns(here).items()}
    found = _scored(base, model, columns)
    if found is None:
        raise NotThere(f"predictions.parquet does not hold what {metric} is computed from")
    return found, split


def _base(metric: str, sets: set[str]) -> tuple[str, str]:
    """Return the plain name of a metric and the evaluation set that it is of."""
    if metric in _KNOWN:
        return metric, MAIN
    for base in _KNOWN:
        rest = metric.removeprefix(f"{base}_")
        if rest != metric and rest in sets:
            return base, rest
    raise NotThere(f"{metric} is not a metric that single rows tell")


def _scored(base: str, model: str, columns: dict[str, npt.NDArray[np.generic]]) -> Scored | None:
    own = columns.get(f"{model}_{base}")
    tokens = columns.get("tokens")
    if tokens is not None and base in _OF_WORDS:
        asked = tokens.astype(np.float64)
        if base == "accuracy":
            return None if own is None else rowwise.mean_of(own.astype(np.float64), asked)
        loss = columns.get(f"{model}_loss", columns.get(model))
        return None if loss is None else rowwise.perplexity(loss.astype(np.float64), asked)
    if own is not None:
        return rowwise.mean_of(own.astype(np.float64))
    answers, label = columns.get(model), columns.get("label")
    if answers is None or label is None or answers.dtype == object or label.dtype == object:
        return None
    if base in ("pearson", "spearman"):
        numbers = answers.astype(np.float64), label.astype(np.float64)
        return rowwise.linear(*numbers) if base == "pearson" else rowwise.Ranked(*numbers)
    given, true = answers.astype(np.int64), label.astype(np.int64)
    if base == "accuracy":
        return rowwise.mean_of((given == true).astype(np.float64))
    return _OF_CLASSES[base](given, true) if base in _OF_CLASSES else None
