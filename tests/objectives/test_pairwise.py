"""Attention compared piece by piece is attention compared at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distill_lab.objectives import pairwise
from distill_lab.objectives.attention import attention_distance
from distill_lab.objectives.minilm import relation_kl
from distill_lab.objectives.minilm_v2 import redivided
from distill_lab.objectives.tinybert import score_distance
from distill_lab.types import Attention
from tests.objectives.inner_cases import Layer, as_attention, layer

DISTANCES = {
    "attention kl": lambda s, t, mask: attention_distance(s, t, mask, "kl"),
    "attention mse": lambda s, t, mask: attention_distance(s, t, mask, "mse"),
    "scores": score_distance,
    "values": lambda s, t, mask: relation_kl(s, t, mask, "values"),
    "queries": lambda s, t, mask: relation_kl(redivided(s, 3), redivided(t, 3), mask, "queries"),
}
MASKS = {
    "right": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]),
    "left": torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]),
    "inside and empty": torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]),
    "short": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]),
}
ALLOWED = {
    "all": None,
    "left only": torch.ones(4, 4, dtype=torch.bool).tril(),
    "row by row": (torch.arange(48).view(3, 1, 4, 4) % 3 > 0) | torch.eye(4, dtype=torch.bool),
}


def found(
    name: str, sides: tuple[Layer, Layer], mask: Tensor, allowed: Tensor | None
) -> tuple[Tensor, list[Tensor | None]]:
    leaves = {part: value.clone().requires_grad_() for part, value in sides[0].items()}
    s, t = (replace(as_attention(side), allowed=allowed) for side in (leaves, sides[1]))
    loss = 3 * DISTANCES[name](s, t, mask)  # type: ignore[no-untyped-call]
    loss.backward()
    return loss.detach(), [leaves[part].grad for part in ("queries", "keys", "values")]


@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("name", DISTANCES)
def test_pieces_give_value_and_gradient_of_the_whole(
    name: str, mask: Tensor, allowed: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = layer(0), layer(100)
    whole = found(name, sides, mask, allowed)
    pieces = []

    def counted(side: Attention, cut: pairwise.Cut) -> Attention:
        pieces.append(cut)
        return piece(side, cut)

    piece = pairwise._piece
    monkeypatch.setattr(pairwise, "_piece", counted)
    monkeypatch.setattr(pairwise, "_PIECE", {"cpu": 1})
    cut = found(name, sides, mask, allowed)
    assert len(pieces) == 2 * 3  # student and teacher, row by row
    for number, (rows, tokens) in enumerate(pieces):
        assert rows == slice(number // 2, number // 2 + 1)
        seen = mask[number // 2].nonzero().flatten().tolist() or [0, 3]
        assert tokens == slice(seen[0], seen[-1] + 1)  # from its first token to its last
    torch.testing.assert_close(cut[0], whole[0], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(cut[1], whole[1], strict=True):
        zero = torch.zeros(3, 2, 4, 3)
        torch.testing.assert_close(
            zero if ours is None else ours, zero if theirs is None else theirs, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", DISTANCES)
def test_the_gradient_may_be_taken_again(name: str) -> None:
    leaves = {part: value.requires_grad_() for part, value in layer(0).items()}
    loss = DISTANCES[name](as_attention(leaves), as_attention(layer(1)), MASKS["right"])  # type: ignore[no-untyped-call]
    loss.backward(retain_graph=True)
    once = {part: x.grad.clone() for part, x in leaves.items() if x.grad is not None}
    assert once
    loss.backward()
    for part, gradient in once.items():
        assert torch.equal(leaves[part].grad, 2 * gradient)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_student_that_is_not_trained_gives_the_value_alone(name: str) -> None:
    trained = {part: value.requires_grad_() for part, value in layer(0).items()}
    values = [
        DISTANCES[name](as_attention(side), as_attention(layer(1)), MASKS["right"])  # type: ignore[no-untyped-call]
        for side in (trained, layer(0))
    ]
    assert [value.requires_grad for value in values] == [True, False]
    assert torch.equal(*values)
