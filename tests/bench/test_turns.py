"""Turns, percentiles and ratios, with models whose seconds are made up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from distill_lab.bench.turns import (
    Round,
    examples_per_second,
    joules_per_thousand,
    latency_ms,
    latency_spread,
    ratio,
    take_turns,
    times_as_many,
    times_as_soon,
)
from distill_lab.errors import ModelError, UsageError


class Fake:
    """A model that writes down when it is called."""

    def __init__(self, name: str, diary: list[str], fails_at: int | None = None) -> None:
        self.name, self.diary, self.fails_at = name, diary, fails_at
        self.calls = count()

    def measure(self) -> Round:
        call = next(self.calls)
        self.diary.append(self.name)
        if call == self.fails_at:
            raise ModelError("too large")
        return Round([float(call)], 10, 2.0)

    def settle(self) -> None:
        self.diary.append(f"{self.name} settles")


def refuse(name: str, error: UsageError) -> None:
    raise AssertionError(f"{name}: {error}")


def test_models_take_turns_forwards_and_backwards_on_and_on() -> None:
    diary: list[str] = []
    arms = {name: Fake(name, diary) for name in "abc"}
    take_turns(arms, repetitions=3, warm_up=0, left_out=refuse)
    assert [word for word in diary if "settles" not in word] == list("abccbaabc")


def test_the_warm_up_does_not_count_and_what_counts_begins_behind_it() -> None:
    diary: list[str] = []
    rounds = take_turns({"a": Fake("a", diary)}, repetitions=2, warm_up=3, left_out=refuse)
    assert [one.single for one in rounds["a"]] == [[3.0], [4.0]]
    assert diary == ["a", "a", "a", "a settles", "a", "a"]


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_a_model_that_fails_is_told_of_and_the_others_go_on(fails_at: int) -> None:
    diary: list[str] = []
    told: list[tuple[str, str]] = []
    arms = {"a": Fake("a", diary), "b": Fake("b", diary, fails_at), "c": Fake("c", diary)}
    rounds = take_turns(arms, 3, 1, lambda name, error: told.append((name, str(error))))
    assert told == [("b", "too large")]
    assert {name: len(found) for name, found in rounds.items()} == {"a": 3, "c": 3}
    assert diary.count("b") == fails_at + 1


def test_the_number_of_turns_is_shown() -> None:
    seen: list[int] = []

    def shown(turns: object, number: int) -> range:
        seen.append(number)
        return range(number)

    take_turns({"a": Fake("a", [])}, 4, 2, refuse, shown)
    assert seen == [6]


def rounds(*seconds: float) -> list[Round]:
    """Rounds in which a row alone takes so long, and ten rows in batches five times that."""
    return [Round([one, one, one], 10, 5 * one, 3 * one) for one in seconds]


def test_percentiles_are_those_of_all_rows_and_rounds() -> None:
    some = [Round([0.001 * ms for ms in range(1, 51)], 1, 1.0)]
    more = [*some, Round([0.001 * ms for ms in range(51, 102)], 1, 1.0)]
    assert latency_ms(some, 50) == pytest.approx(25.5)
    assert latency_ms(more, 50) == pytest.approx(51)
    assert latency_ms(more, 95) == pytest.approx(96)


def test_the_spread_tells_a_round_that_was_disturbed() -> None:
    rounds = [Round([0.01, 0.02, 0.03], 1, 1.0), Round([0.01, 0.05, 0.09], 1, 1.0)]
    assert latency_spread(rounds) == pytest.approx(2.5)
    assert latency_spread(rounds[:1]) == 1.0


def test_throughput_is_the_median_of_the_rounds() -> None:
    assert examples_per_second(rounds(1, 1, 100)) == pytest.approx(2)


def test_energy_is_for_a_thousand_rows_and_not_measured_if_a_round_is_not() -> None:
    assert joules_per_thousand(rounds(1, 2, 3)) == pytest.approx(1000 * 18 / 30)
    assert joules_per_thousand([*rounds(1), Round([1.0], 10, 1.0)]) is None


@pytest.mark.parametrize("times", [times_as_soon, times_as_many])
def test_a_ratio_holds_on_a_machine_that_slows_down(times: Callable[[Round, Round], float]) -> None:
    noise = [1, 9, 2, 5, 1, 3, 8, 4]
    found = ratio(rounds(*noise), rounds(*(3 * one for one in noise)), times)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))


def test_the_interval_is_that_of_the_median_by_order_statistics() -> None:
    theirs = rounds(*[1.0] * 10)
    ours = rounds(*(1 / times for times in (1, 2, 3, 4, 5, 6, 7, 8, 9, 1000)))
    found = ratio(ours, theirs, times_as_soon)
    # Of ten rounds the median lies between the second and the ninth but for 2 * 11 / 1024.
    assert (found.value, found.low, found.high) == pytest.approx((5.5, 2, 9))


def test_five_rounds_give_no_interval() -> None:
    found = ratio(rounds(1, 1, 1, 1, 1), rounds(2, 2, 2, 2, 2), times_as_soon)
    assert (found.value, found.low, found.high) == (2, None, None)


def test_one_disturbed_round_does_not_move_a_ratio() -> None:
    theirs = rounds(*[2.0] * 9, 50.0)
    found = ratio(rounds(*[1.0] * 10), theirs, times_as_soon)
    assert found.value == 2 and found.high == 2
