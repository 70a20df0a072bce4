"""Losses taken a few rows at a time are those of all rows at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill_lab.objectives import by_rows
from tests.objectives.cases import CASES, Case, draw, of_rows, terms


def found(case: Case, sides: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Values of all terms, and the gradient of their weighted sum."""
    student = sides[0].clone().requires_grad_()
    parts = terms(case, student, *sides[1:])
    batch = of_rows(sides[2])
    torch.stack([term.part(batch) for term in parts.values()]).sum().backward()
    assert student.grad is not None
    return torch.stack([term.total.detach() for term in parts.values()]), student.grad


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pieces_give_value_and_gradient_of_the_whole(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = draw(rows=7, classes=5)
    whole = found(case, sides)
    cuts: list[slice] = []
    real = by_rows.in_pieces

    def counted(part: object, given: list[tuple[slice]], *tensors: Tensor) -> Tensor:
        cuts.extend(cut for (cut,) in given)
        return real(part, given, *tensors)  # type: ignore[arg-type]

    monkeypatch.setattr(by_rows, "in_pieces", counted)
    monkeypatch.setattr(by_rows, "_WHOLE", {"cpu": 2 * 5})
    pieces = found(case, sides)
    losses = 3 if case is CASES["dist"] else 2  # whose means are taken before
    assert cuts == losses * [slice(start, start + 2) for start in (0, 2, 4, 6)]
    torch.testing.assert_close(pieces, whole)


def test_several_results_are_weighed_in_the_backward_pass() -> None:
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    cuts = [(slice(0, 2),), (slice(2, 3),)]

    def part(_: object, x: Tensor) -> Tensor:
        return torch.stack([x.sum(), x.square().sum()])

    sums, squares = by_rows.in_pieces(part, cuts, values)
    (10 * sums + squares).backward()
    assert (sums.item(), squares.item()) == (6, 14)
    assert values.grad is not None
    assert values.grad.tolist() == [12, 14, 16]
