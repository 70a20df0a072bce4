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
from tests.objectives.inner_cases import Layer, as_attention, layer

DISTANCES = {
    "attention kl": lambda s, t, mask: attention_distance([(s, t)], mask, "kl")[0],
    "attention mse": lambda s, t, mask: attention_distance([(s, t)], mask, "mse")[0],
    "scores": lambda s, t, mask: score_distance([(s, t)], mask)[0],
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
    "padding": MASKS["right"].bool()[:, None, None, :],
    "row by row": (torch.arange(48).view(3, 1, 4, 4) % 3 > 0) | torch.eye(4, dtype=torch.bool),
}


Found = tuple[Tensor, list[Tensor | None]]


def found(name: str, sides: tuple[Layer, Layer], mask: Tensor, allowed: Tensor | None) -> Found:
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
    monkeypatch.setattr(pairwise, "_PIECE", {"cpu": 1})
    equal(found(name, sides, mask, allowed), whole)

    def as_on_a_gpu(mask: Tensor, heads: int) -> list[pairwise.Piece]:
        return [pairwise.Piece(slice(row, row + 2), slice(0, 4)) for row in (0, 2)]

    def kept(allowed: Tensor | None, tokens: Tensor) -> Tensor | None:
        """Without a look at what it hides."""
        return None if allowed is None else allowed.expand(3, 1, 4, 4)

    monkeypatch.setattr(pairwise, "_plan", as_on_a_gpu)
    monkeypatch.setattr(pairwise, "_beyond_padding", kept)
    equal(found(name, sides, mask, allowed), whole)


def equal(cut: Found, whole: Found) -> None:
    torch.testing.assert_close(cut[0], whole[0], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(cut[1], whole[1], strict=True):
        zero = torch.zeros(3, 2, 4, 3)
        torch.testing.assert_close(
            zero if ours is None else ours, zero if theirs is None else theirs, rtol=1e-5, atol=1e-6
        )


def positions(piece: pairwise.Piece) -> list[int]:
    found: list[int] = torch.arange(6)[piece.rows].tolist()
    return found


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_piece_reaches_from_its_first_token_to_its_last(
    mask: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "_PIECE", {"cpu": 1})
    pieces = pairwise._plan(mask, 2)
    assert all(isinstance(piece.rows, slice) for piece in pieces)  # alone, and not copied
    rows = [row for piece in pieces for row in positions(piece)]
    assert sorted(rows) == [0, 1, 2]
    for row, piece in zip(rows, pieces, strict=True):
        seen = mask[row].nonzero().flatten().tolist() or [0, 3]
        assert piece.tokens == slice(seen[0], seen[-1] + 1)
        assert piece.whole == (int(mask[row].sum()) == seen[-1] + 1 - seen[0])


def test_rows_of_similar_length_are_compared_together(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = torch.tensor([2, 8, 3, 7, 2, 8])
    mask = (torch.arange(8) < lengths[:, None]).long()
    monkeypatch.setattr(pairwise, "_PIECE", {"cpu": 2 * 2 * 8**2})  # two heads, two long rows
    pieces = [(positions(p), p.tokens.stop, p.whole) for p in pairwise._plan(mask, 2)]
    assert pieces == [([0, 4, 2], 3, False), ([3, 1], 8, False), ([5], 8, True)]


def test_another_device_is_not_waited_for() -> None:
    mask = torch.ones(70, 512, device="meta")
    pieces = pairwise._plan(mask, 2**5)
    assert [piece.rows for piece in pieces] == [slice(i, i + 8) for i in range(0, 70, 8)]
    assert not any(piece.whole for piece in pieces)


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
