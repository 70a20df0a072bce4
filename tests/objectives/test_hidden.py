"""Hidden states: masks, layer maps, projections; and DistilBERT's triple."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import BertConfig

from distill_lab.errors import ConfigError
from distill_lab.objectives.distilbert import DistilBERT
from distill_lab.objectives.hidden import Hidden, hidden_distance, layer_pairs
from distill_lab.objectives.hinton import soft_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Problem


def states(width: int = 6, seed: int = 0, layers: int = 3) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {i: torch.randn(2, 4, width, generator=generator) for i in range(layers)}


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def batch(mask: Tensor = MASK) -> Batch:
    return Batch(torch.arange(2), {"attention_mask": mask}, torch.tensor([0, 2]))


def fit(student: int = 6, teacher: int = 6, layers: tuple[int, int] = (2, 4)) -> Fit:
    def config(width: int, count: int) -> BertConfig:
        return BertConfig(hidden_size=width, num_hidden_layers=count, num_attention_heads=2)

    problem = Problem("classification", ("a", "b", "c"))
    return Fit(problem, config(student, layers[0]), config(teacher, layers[1]))


def slow(student: Tensor, teacher: Tensor, mask: Tensor, distance: str) -> float:
    """Token by token, from the definition."""
    total = 0.0
    for row in range(mask.shape[0]):
        for token in range(mask.shape[1]):
            if not mask[row, token]:
                continue
            s, t = student[row, token].tolist(), teacher[row, token].tolist()
            if distance == "mse":
                total += sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s)
            else:
                dot = sum(a * b for a, b in zip(s, t, strict=True))
                total += 1 - dot / math.sqrt(sum(a * a for a in s) * sum(b * b for b in t))
    return total


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_distance_equals_the_slow_reference(distance: str) -> None:
    s, t = states(seed=0)[0], states(seed=1)[0]
    found = hidden_distance(s, t, MASK, distance).item()  # type: ignore[arg-type]
    assert found == pytest.approx(slow(s, t, MASK, distance), rel=1e-5)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_padding_changes_nothing(distance: str) -> None:
    s, t = states(seed=0)[0], states(seed=1)[0]
    padded = [torch.cat([x, 100 * torch.ones(2, 3, 6)], dim=1) for x in (s, t)]
    padded[0][:, 4:] *= -1
    mask = torch.cat([MASK, torch.zeros(2, 3, dtype=torch.int64)], dim=1)
    one = hidden_distance(s, t, MASK, distance)  # type: ignore[arg-type]
    two = hidden_distance(*padded, mask, distance)  # type: ignore[arg-type]
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_no_tokens_give_zero_with_a_gradient_path(distance: str) -> None:
    s = states()[0].requires_grad_()
    loss = hidden_distance(s, states(seed=1)[0], torch.zeros_like(MASK), distance)  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0 and s.grad is not None and (s.grad == 0).all()


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_the_teacher_itself_costs_nothing_and_gets_no_gradient(distance: str) -> None:
    t = states()[0].requires_grad_()
    s = t.detach().clone().requires_grad_()
    loss = hidden_distance(s, t, MASK, distance)  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and t.grad is None


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("uniform", [(0, 0), (1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12)]),
        ("last", [(6, 12)]),
        ([[0, 0], [6, 12]], [(0, 0), (6, 12)]),
    ],
)
def test_layer_maps(layers: str, expected: list[tuple[int, int]]) -> None:
    assert layer_pairs(6, 12, layers) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [[[7, 1]], [[1, 13]], [[1]], [], [[-1, 0]]])
def test_wrong_layer_maps(layers: list[list[int]]) -> None:
    with pytest.raises(ConfigError, match=r"objective\.layers"):
        layer_pairs(6, 12, layers)


def test_terms_of_hidden() -> None:
    objective = Hidden(lam=0.3, distance="mse", layers=[[0, 0], [2, 4]])
    objective.prepare(fit())
    s, t = states(layers=3), states(seed=1, layers=5)
    logits = torch.randn(2, 3)
    terms = objective(Outputs(logits, s), Outputs(logits, t), batch())
    expected = (slow(s[0], t[0], MASK, "mse") + slow(s[2], t[4], MASK, "mse")) / 2 / 6
    assert terms["hidden"].mean(batch()).item() == pytest.approx(expected, rel=1e-5)
    assert terms["hidden"].unit == "tokens" and batch().count("tokens") == 6
    assert (terms["hard"].weight, terms["hidden"].weight) == (0.7, 0.3)


def test_a_projection_is_drawn_only_where_widths_differ_and_learns() -> None:
    same, narrow = Hidden(), Hidden()
    same.prepare(fit())
    narrow.prepare(fit(student=4))
    assert not list(same.parameters()) and len(list(narrow.parameters())) == 2
    logits = torch.randn(2, 3)
    terms = narrow(
        Outputs(logits, states(4, layers=3)), Outputs(logits, states(6, layers=5)), batch()
    )
    terms["hidden"].mean(batch()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in narrow.parameters())


def test_terms_of_distilbert() -> None:
    objective = DistilBERT()
    objective.prepare(fit())
    s, t = states(), states(seed=1, layers=5)
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    terms = objective(Outputs(a, s), Outputs(b, t), batch())
    assert {name: term.weight for name, term in terms.items()} == {
        "soft": 5 * 4, "hard": 2, "cosine": 1,
    }  # fmt: skip
    torch.testing.assert_close(terms["soft"].total, soft_loss(a, b, 2.0))
    expected = slow(s[2], t[4], MASK, "cosine") / 6
    assert terms["cosine"].mean(batch()).item() == pytest.approx(expected, rel=1e-5)


def test_distilbert_refuses_other_widths_and_no_weights() -> None:
    with pytest.raises(ConfigError, match="4 wide"):
        DistilBERT().prepare(fit(student=4))
    narrow = DistilBERT(cosine=0.0)
    narrow.prepare(fit(student=4))
    assert narrow.needs == Needs()
    terms = narrow(Outputs(torch.randn(2, 3)), Outputs(torch.randn(2, 3)), batch())
    assert terms.keys() == {"soft", "hard"}
    with pytest.raises(ConfigError, match="above 0"):
        DistilBERT(soft=0.0, hard=0.0, cosine=0.0)
