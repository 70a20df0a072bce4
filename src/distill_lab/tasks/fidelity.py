"""How a student's answers stand to its teacher's, and how far its certainty can be trusted.

Stanton et al. 2021 (arXiv 2106.05945), "Does Knowledge Distillation Really Work?": students often
score as well as their teacher without answering like it, so both are to be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from distill_lab.better import CALIBRATION_BINS
from distill_lab.tasks.squad_score import normalized
from distill_lab.types import Problem

Table = Mapping[str, npt.NDArray[Any] | list[Any]]
Told = dict[str, float]


def fidelity(problem: Problem, table: Table) -> dict[str, Told]:
    """Return what is told of each model of a run; names without a meaning for a task are left out.

    * `agreement`: share of the rows that are answered like the teacher does.
    * `divergence`: mean KL(teacher || model) over the rows in nats, both at T = 1.
    * `calibration_error`: expected calibration error, Guo et al. 2017, with 15 bins of equal width.
    * `nll`: mean negative log-likelihood of the labels, in nats; of words, that of each token.
    * `only_teacher_right`, `only_model_right`: in how many rows one is right and the other wrong.
    * `rmse_to_teacher`, `correlation_with_teacher`: of numbers; Pearson's correlation.

    Args:
        problem: What is answered.
        table: Of the main evaluation set, as `Task.table` gives it.

    Returns:
        By model; the teacher has no entries that hold it against itself.
    """
    told: dict[str, Callable[[Table, str], Told]] = {
        "classification": _classes, "regression": _numbers, "spans": _texts,
        "causal_lm": _words, "masked_lm": _words,
    }  # fmt: skip
    models = [name for name in ("teacher", "student", "baseline") if _present(table, name)]
    found = {name: told[problem.kind](table, name) for name in models}
    return {name: _finite(values) for name, values in found.items() if values}


def _present(table: Table, model: str) -> bool:
    return any(name == model or name.startswith(f"{model}_") for name in table)


def _finite(told: Told) -> Told:
    """Leave out what a network that has diverged gives."""
    return {name: float(value) for name, value in told.items() if math.isfinite(value)}


def _classes(table: Table, model: str) -> Told:
    from torchmetrics.functional.classification import multiclass_calibration_error

    labels = torch.as_tensor(np.asarray(table["label"]))
    own = _log_softmax(table, model)
    error = multiclass_calibration_error(
        own.exp().float(), labels, num_classes=own.shape[1], n_bins=CALIBRATION_BINS, norm="l1"
    )
    told = {"calibration_error": float(error), "nll": float(F.nll_loss(own, labels))}
    if model == "teacher" or "teacher_logits" not in table:
        return told
    teacher = _log_softmax(table, "teacher")
    divergence = F.kl_div(own, teacher, reduction="batchmean", log_target=True)
    answer, theirs = np.asarray(table[model]), np.asarray(table["teacher"])
    right = answer == labels.numpy(), theirs == labels.numpy()
    return {
        "agreement": float((answer == theirs).mean()),
        "divergence": float(divergence),
        **told,
        **_alone(*right),
    }


def _log_softmax(table: Table, model: str) -> Tensor:
    logits = torch.from_numpy(np.stack(list(table[f"{model}_logits"])))
    return F.log_softmax(logits.double(), dim=1)


def _numbers(table: Table, model: str) -> Told:
    if model == "teacher" or "teacher" not in table:
        return {}
    own, theirs = (np.asarray(table[name], dtype=np.float64) for name in (model, "teacher"))
    told = {"rmse_to_teacher": float(np.sqrt(np.mean((own - theirs) ** 2)))}
    if own.std() > 0 and theirs.std() > 0:
        told["correlation_with_teacher"] = float(np.corrcoef(own, theirs)[0, 1])
    return told


def _texts(table: Table, model: str) -> Told:
    """Hold texts against the teacher's, without case, punctuation, articles."""
    if model == "teacher" or "teacher" not in table or model not in table:
        return {}
    pairs = list(zip(table[model], table["teacher"], strict=True))
    same = np.mean([normalized(own) == normalized(theirs) for own, theirs in pairs])
    right = (np.asarray(table[f"{name}_exact"]) == 1 for name in (model, "teacher"))
    return {"agreement": float(same), **_alone(*right)}


def _words(table: Table, model: str) -> Told:
    """Tell of blocks of text, or of prompts and what was written for them."""
    if f"{model}_exact" in table or f"{model}_loss" in table:
        loss, told = table.get(f"{model}_loss"), _texts(table, model)
    else:
        loss, told = table[model], Told()
    if loss is None:
        return told
    tokens = np.asarray(table.get("tokens", np.ones(len(loss))), dtype=np.float64)
    return told | {"nll": float(np.average(np.asarray(loss, dtype=np.float64), weights=tokens))}


def _alone(own: npt.NDArray[np.bool_], teacher: npt.NDArray[np.bool_]) -> Told:
    return {
        "only_teacher_right": float((teacher & ~own).sum()),
        "only_model_right": float((own & ~teacher).sum()),
    }
