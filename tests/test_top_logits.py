"""The largest logits, and the mass of all others."""

from __future__ import annotations

import math

import pytest
import torch

from distill_lab.errors import ConfigError
from distill_lab.top_logits import TopK, at_indices, top_logits
from tests.objectives.cases import draw


@pytest.mark.parametrize("spread", [1.0, 10.0, 40.0])
def test_mass_of_head_and_tail_is_exact_at_every_kept_temperature(spread: float) -> None:
    """Also where float32 could not tell it from 1 - (sum of the head)."""
    logits = spread * draw(rows=20, classes=30)[1]
    temperatures, k = (0.5, 1.0, 2.0, 7.3), 4
    top = top_logits(logits, TopK(k, temperatures))
    exact = logits.double().sort(dim=1, descending=True).values
    smallest = 1.0
    for t in temperatures:
        powers = (exact / t).softmax(dim=1)
        tail = powers[:, k:].sum(dim=1)
        inside = torch.logaddexp(torch.logsumexp(top.values / t, dim=1), top.rest[t])
        head = (top.values / t - inside[:, None]).exp()
        torch.testing.assert_close(head.double(), powers[:, :k], rtol=1e-4, atol=1e-30)
        torch.testing.assert_close(top.outside(t).double(), tail, rtol=1e-4, atol=1e-35)
        smallest = min(smallest, tail.min().item())
    assert spread == 1.0 or smallest < 1e-8


def test_what_is_kept_is_the_largest_and_the_rest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 4.0, -1.0, 0.0]])
    top = top_logits(logits, TopK(2, (1.0, 2.0)))
    assert top.values.tolist() == [[3, 2], [5, 4]]
    assert top.indices.tolist() == [[1, 3], [0, 1]]
    assert top.classes == 4
    expected = [math.log(math.exp(0 / 2) + math.exp(1 / 2)), math.log(math.exp(-0.5) + 1)]
    assert top.rest[2.0].tolist() == pytest.approx(expected)
    again = at_indices(logits, top.indices.flip(1), (1.0,))
    assert again.values.tolist() == [[2, 3], [4, 5]]
    torch.testing.assert_close(again.rest[1.0], top.rest[1.0])


def test_all_classes_leave_nothing_outside() -> None:
    _, teacher, _ = draw(classes=6)
    assert top_logits(teacher, TopK(6, (2.0,))).outside(2.0).tolist() == [0.0] * 7


def test_another_temperature_is_told() -> None:
    top = top_logits(draw()[1], TopK(2, (1.0, 2.0)))
    with pytest.raises(ConfigError, match=r"cache_temperatures=\[1, 2\].*at T = 3"):
        top.rest_at(3.0)
