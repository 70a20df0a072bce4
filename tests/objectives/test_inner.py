"""What every distance between hidden states or attention must have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.objectives.inner_cases import CASES, MASK, Case, Layer, layer

EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def reference(case: Case, s: Layer, t: Layer, mask: Tensor = MASK) -> float:
    sides = ({name: value.tolist() for name, value in side.items()} for side in (s, t))
    return case.reference(*sides, mask.tolist())


def tracked(seed: int) -> Layer:
    return {name: value.requires_grad_() for name, value in layer(seed).items()}


def change(
    side: Layer, hidden: Callable[[Tensor], Tensor], heads: Callable[[Tensor], Tensor]
) -> Layer:
    return {name: (hidden if name == "hidden" else heads)(value) for name, value in side.items()}


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_slow_reference(case: Case, seed: int) -> None:
    s, t = layer(seed), layer(seed + 100)
    assert case.distance(s, t, MASK).item() == pytest.approx(reference(case, s, t), rel=2e-5)


@EVERY
def test_its_gradient_is_that_of_the_reference(case: Case) -> None:
    """Central differences of the slow reference, in double precision."""
    s, t = tracked(0), layer(100)
    case.distance(s, t, MASK).backward()
    doubled = {name: value.double() for name, value in t.items()}
    for part in case.parts:
        gradient = s[part].grad
        assert gradient is not None
        for where in list(torch.cartesian_prod(*map(torch.arange, s[part].shape)))[::5]:
            values = []
            for sign in (1, -1):
                moved = {name: value.detach().double() for name, value in s.items()}
                moved[part] = moved[part].clone()
                moved[part][tuple(where)] += sign * 1e-5
                values.append(reference(case, moved, doubled))
            slope = (values[0] - values[1]) / 2e-5
            assert gradient[tuple(where)].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)


@EVERY
def test_the_teacher_itself_costs_nothing(case: Case) -> None:
    s = tracked(0)
    t = {name: value.detach().clone() for name, value in s.items()}
    loss = case.distance(s, t, MASK)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    for part in case.parts:
        assert s[part].grad is not None and s[part].grad.abs().max() < 1e-4


@EVERY
def test_it_is_never_negative(case: Case) -> None:
    assert all(case.distance(layer(i), layer(i + 50), MASK).item() >= 0 for i in range(30))


@EVERY
def test_no_gradient_reaches_the_teacher(case: Case) -> None:
    s, t = tracked(0), tracked(100)
    case.distance(s, t, MASK).backward()
    assert all(value.grad is None for value in t.values())
    assert all(s[p].grad is not None and s[p].grad.abs().sum() > 0 for p in case.parts)


@EVERY
def test_padding_changes_nothing(case: Case) -> None:
    """Neither what stands in the padding nor how much of it there is."""
    s, t = layer(0), layer(100)
    before = case.distance(s, t, MASK)

    def fill(value: float) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        def hidden(x: Tensor) -> Tensor:
            x = torch.cat([x, torch.zeros_like(x)], dim=1)
            return x.masked_fill(wide[:, :, None] == 0, value)

        def heads(x: Tensor) -> Tensor:
            x = torch.cat([x, torch.zeros_like(x)], dim=2)
            return x.masked_fill(wide[:, None, :, None] == 0, value)

        return hidden, heads

    wide = torch.cat([MASK, torch.zeros_like(MASK)], dim=1)
    after = case.distance(change(s, *fill(30.0)), change(t, *fill(-20.0)), wide)
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-6)


@EVERY
def test_padding_gets_no_gradient(case: Case) -> None:
    s = tracked(0)
    case.distance(s, layer(100), MASK).backward()
    for part in case.parts:
        gradient = s[part].grad
        assert gradient is not None
        pads = (MASK == 0)[:, :, None] if part == "hidden" else (MASK == 0)[:, None, :, None]
        assert (gradient.masked_select(pads.expand_as(gradient)) == 0).all()


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.additive])
def test_rows_add_up(case: Case) -> None:
    s, t = layer(0), layer(100)

    def part(side: Layer, rows: slice) -> Layer:
        return {name: value[rows] for name, value in side.items()}

    parts = [
        case.distance(part(s, rows), part(t, rows), MASK[rows])
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(parts), case.distance(s, t, MASK))


@EVERY
def test_the_order_of_rows_does_not_matter(case: Case) -> None:
    s, t, order = layer(0), layer(100), torch.tensor([2, 0, 1])
    moved = [change(side, *[lambda x: x[order]] * 2) for side in (s, t)]
    torch.testing.assert_close(
        case.distance(*moved, MASK[order]), case.distance(s, t, MASK), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.empty])
def test_nothing_but_padding_gives_zero_with_a_gradient_path(case: Case) -> None:
    s = tracked(0)
    loss = case.distance(s, layer(100), torch.zeros_like(MASK))
    loss.backward()
    assert loss.item() == 0
    for part in case.parts:
        assert s[part].grad is not None and (s[part].grad == 0).all()


@EVERY
def test_half_precision_is_close(case: Case) -> None:
    """Value and gradient, also where half precision is torch's default, as in bf16-true."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        student = {part: value.requires_grad_() for part, value in layer(0, dtype).items()}
        teacher = layer(100, dtype)
        torch.set_default_dtype(dtype)
        try:
            value = case.distance(student, teacher, MASK)
            assert value.dtype == torch.float32
            value.backward()
        finally:
            torch.set_default_dtype(torch.float32)
        found[dtype] = value.detach(), [student[part].grad for part in case.parts]
    (exact, gradients), (close, halves) = found.values()
    torch.testing.assert_close(close, exact, rtol=0.05, atol=0.05)
    for gradient, half in zip(gradients, halves, strict=True):
        assert gradient is not None and half is not None and half.dtype == torch.bfloat16
        scale = float(gradient.abs().max())
        torch.testing.assert_close(half.float(), gradient, rtol=0.05, atol=0.05 * scale)
