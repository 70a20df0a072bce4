"""Batches in which some rows have no label: the teacher alone teaches those."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from torch import Tensor

from distill_lab.objectives import Objective
from distill_lab.types import Attention, Batch, Outputs, Term, Unit

_SUFFIX = "_unlabelled"


def labelled(batch: Batch) -> Tensor:
    """Tell which rows of a batch have a label, bool `[batch]`."""
    labels = batch.labels
    return ~labels.isnan() if labels.is_floating_point() else labels >= 0


def terms_of(
    objective: Objective, student: Outputs, teacher: Outputs, batch: Batch
) -> dict[str, Term]:
    """Return an objective's terms; rows without a label are taught with lam = 1.

    The loss is the mean over all rows: of those with a label `(1 - lam) * hard + lam * soft`, of
    the others `soft`, whose terms have names of their own.

    Args:
        objective: Prepared.
        student: What the student gives.
        teacher: What the teacher gives.
        batch: The rows; each is answered as a whole.
    """
    known = labelled(batch) if batch.form == "rows" else None
    if known is None or bool(known.all()):
        return objective(student, teacher, batch)  # type: ignore[no-any-return]
    terms: dict[str, Term] = {}
    if bool(known.any()):
        terms = objective(*_some(student, teacher, batch, known))
    others = taught_alone(objective, *_some(student, teacher, batch, ~known))
    return terms | {f"{name}{_SUFFIX}": term for name, term in others.items()}


def taught_alone(
    objective: Objective, student: Outputs, teacher: Outputs, batch: Batch
) -> dict[str, Term]:
    """Return an objective's terms with lam = 1: what the batch holds as labels plays no part.

    Args:
        objective: Prepared.
        student: What the student gives.
        teacher: What the teacher gives.
        batch: Answers that nobody has judged.
    """
    with _without_labels(objective):
        terms: dict[str, Term] = objective(student, teacher, batch)
    return {name: term for name, term in terms.items() if name != "hard"}


@contextmanager
def _without_labels(objective: Objective) -> Iterator[None]:
    parts = objective.with_parts()
    before = [part.lam for part in parts]
    for part in parts:
        part.lam = 1.0
    try:
        yield
    finally:
        for part, lam in zip(parts, before, strict=True):
            part.lam = lam


def _some(
    student: Outputs, teacher: Outputs, batch: Batch, rows: Tensor
) -> tuple[Outputs, Outputs, Batch]:
    """Return some rows of a batch, whose terms are divided by the units of the whole."""
    whole = batch.per_step or {unit: float(batch.count(unit)) for unit in get_args(Unit)}
    inputs = {name: values[rows] for name, values in batch.inputs.items()}
    theirs = {name: values[rows] for name, values in batch.teacher_inputs.items()}
    part = replace(
        batch, ids=batch.ids[rows.cpu()], inputs=inputs, labels=batch.labels[rows],
        teacher_inputs=theirs, per_step=whole,
    )  # fmt: skip
    return _rows(student, rows), _rows(teacher, rows), part


def _rows(outputs: Outputs, rows: Tensor) -> Outputs:
    top = outputs.top
    if top is not None:
        rest = {t: values[rows] for t, values in top.rest.items()}
        top = replace(top, values=top.values[rows], indices=top.indices[rows], rest=rest)
    return Outputs(
        outputs.logits[rows],
        {layer: states[rows] for layer, states in outputs.hidden_states.items()},
        {layer: _attention(side, rows) for layer, side in outputs.attention.items()},
        top,
    )


def _attention(side: Attention, rows: Tensor) -> Attention:
    allowed = side.allowed
    if allowed is not None and allowed.dim() == 4 and len(allowed) == len(rows):
        allowed = allowed[rows]
    queries, keys, values = (each[rows] for each in (side.queries, side.keys, side.values))
    return replace(side, queries=queries, keys=keys, values=values, allowed=allowed)
