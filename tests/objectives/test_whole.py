"""Every objective as a whole, on real models: the teacher's gradient, units, padding, pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from distill_lab.config import conf_dir
from distill_lab.forward import forward
from distill_lab.objectives import Objective
from distill_lab.objectives.attention import AttentionTransfer, attention_distance
from distill_lab.objectives.combine import Combine
from distill_lab.objectives.hidden import Hidden
from distill_lab.objectives.hinton import Hinton
from distill_lab.objectives.jsd import JSD
from distill_lab.objectives.rkd import RKD
from distill_lab.objectives.tinybert import TinyBERT, score_distance
from distill_lab.types import Attention, Batch, Fit, Outputs, Problem, Unit
from tests.objectives.cases import CASES
from tests.objectives.inner_cases import MASK, as_attention, layer
from tests.objectives.references import kl, softmax
from tests.objectives.test_inside import CLASSES, EXPECTED, NUMBERS, batch, loss
from tests.stacks import stack


def predicting() -> TinyBERT:
    """TinyBERT in its second stage."""
    objective = TinyBERT(temperature=2.0, lam=0.75)
    objective.stage = 1
    return objective


WHOLE: dict[str, Objective] = {
    **{name: case.make() for name, case in CASES.items()},
    **{name: copy.deepcopy(objective) for name, (objective, _) in EXPECTED.items()},
    "attention mse": AttentionTransfer(distance="mse"),
    "hidden cosine": Hidden(distance="cosine"),
    "jsd 0": JSD(beta=0.0),
    "jsd 1": JSD(beta=1.0),
    "tinybert predictions": predicting(),
    "combine": Combine(
        parts={"soft": Hinton(), "layers": Hidden(), "relations": RKD()},
        weights={"soft": 1.0, "layers": 2.0, "relations": 0.5},
    ),
}
EVERY = pytest.mark.parametrize("name", WHOLE)
NUMERIC = ["hinton", "mse_logits", "tinybert predictions", "hidden", "attention", "rkd", "combine"]
# What a term is a mean over; those that are not here are means over answers.
UNITS: dict[str, dict[str, Unit]] = {
    "dist": {"intra": "batch"},
    "pkd": {"patient": "rows"},
    "distilbert": {"cosine": "tokens"},
    "hidden": {"hidden": "tokens"},
    "hidden cosine": {"hidden": "tokens"},
    "attention": {"attention": "tokens"},
    "attention mse": {"attention": "token_pairs"},
    "minilm": {"attention": "tokens", "values": "tokens"},
    "minilm_v2": {"queries": "tokens", "keys": "tokens", "values": "tokens"},
    "tinybert": {"attention": "token_pairs", "hidden": "tokens", "embeddings": "tokens"},
    "rkd": {"distances": "row_pairs", "angles": "batch"},
    "combine": {
        "layers/hidden": "tokens", "relations/distances": "row_pairs", "relations/angles": "batch",
    },
}  # fmt: skip


def prepared(name: str, problem: Problem = CLASSES) -> tuple[Objective, Callable[..., Outputs]]:
    """An objective of its own, and what asks a student or a teacher, both with gradients."""
    objective = copy.deepcopy(WHOLE[name])
    models = {"student": stack("bert", num_hidden_layers=2), "teacher": stack("bert")}
    objective.prepare(Fit(problem, models["student"].config, models["teacher"].config))

    def ask(role: str, rows: Batch) -> Outputs:
        return forward(models[role], rows, getattr(objective.needs, role))

    return objective, ask


def tensors(outputs: Outputs) -> Iterator[Tensor]:
    yield outputs.logits
    yield from outputs.hidden_states.values()
    for one in outputs.attention.values():
        yield from (one.queries, one.keys, one.values)


def gradients(outputs: Outputs, total: Tensor) -> list[Tensor]:
    """The gradients that reach outputs at all."""
    found = torch.autograd.grad(total, list(tensors(outputs)), retain_graph=True, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def test_every_yaml_is_here() -> None:
    shipped = {path.stem for path in (conf_dir() / "objective").glob("*.yaml")}
    assert {name.split()[0] for name in WHOLE} == shipped - {"sequence"}  # asks no teacher


@EVERY
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    """Not even one whose outputs have a gradient path, through whatever it gives."""
    objective, ask = prepared(name)
    student, teacher = (ask(role, batch()) for role in ("student", "teacher"))
    assert all(tensor.requires_grad for tensor in tensors(teacher))
    total = loss(objective(student, teacher, batch()), without="hard")
    assert gradients(teacher, total) == []
    assert any(gradient.abs().sum() > 0 for gradient in gradients(student, total))


@pytest.mark.parametrize("name", NUMERIC)
def test_no_gradient_reaches_the_teacher_of_a_regression(name: str) -> None:
    objective, ask = prepared(name, NUMBERS)
    rows = replace(batch(), labels=torch.tensor([0.5, 2.0, 1.0]))
    student, teacher = (ask(role, rows) for role in ("student", "teacher"))
    student, teacher = (replace(one, logits=one.logits[:, :1]) for one in (student, teacher))
    total = loss(objective(student, teacher, rows), without="hard")
    assert gradients(teacher, total) == []
    assert any(gradient.abs().sum() > 0 for gradient in gradients(student, total))


@EVERY
def test_units_of_the_terms(name: str) -> None:
    objective, ask = prepared(name)
    found = objective(ask("student", batch()), ask("teacher", batch()), batch())
    units = {term: value.unit for term, value in found.items() if value.unit != "answers"}
    assert units == UNITS.get(name, {})


def test_units_count_no_padding() -> None:
    """Rows of 9, 5 and 7 tokens, padded to 9."""
    expected = {
        "answers": 3,
        "rows": 3,
        "tokens": 21,
        "token_pairs": 155,
        "row_pairs": 6,
        "batch": 1,
    }
    assert {unit: batch().count(unit) for unit in expected} == expected  # type: ignore[arg-type]


@EVERY
def test_padding_changes_no_term(name: str) -> None:
    objective, ask = prepared(name)
    short, long = batch(), batch()
    long.inputs = {k: torch.cat([v, torch.zeros_like(v)], dim=1) for k, v in short.inputs.items()}
    values = []
    for rows in (short, long):
        found = objective(ask("student", rows), ask("teacher", rows), rows)
        values.append({term: value.mean(rows).item() for term, value in found.items()})
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def squares(x: list[float], y: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


HELD: dict[str, tuple[Callable[..., Tensor], Callable[..., float]]] = {
    "kl": (
        partial(attention_distance, distance="kl"),
        lambda x, y: kl(softmax(y), softmax(x)),
    ),
    "mse": (
        partial(attention_distance, distance="mse"),
        lambda x, y: squares(softmax(x), softmax(y)),
    ),
    "scores": (score_distance, squares),
}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("roles", [("student",), ("teacher",), ("student", "teacher")])
def test_what_one_model_hides_counts_in_neither(name: str, roles: tuple[str, ...]) -> None:
    """One or both look left only: each row of attention is compared up to its own token."""
    distance, of_rows = HELD[name]
    left = torch.ones(4, 4, dtype=torch.bool).tril()
    sides: dict[str, Attention] = {}
    for role, seed in (("student", 0), ("teacher", 100)):
        given = as_attention(layer(seed))
        sides[role] = replace(given, allowed=left) if role in roles else given
    s, t = (side.scores.tolist() for side in sides.values())
    expected = 0.0
    for row, head, i in product(range(3), range(2), range(4)):
        if MASK[row, i]:
            keys = [j for j in range(i + 1) if MASK[row, j]]
            expected += of_rows(*([x[row][head][i][j] for j in keys] for x in (s, t))) / 2
    (found,) = distance([(sides["student"], sides["teacher"])], MASK)
    assert found.item() == pytest.approx(expected, rel=1e-5)
