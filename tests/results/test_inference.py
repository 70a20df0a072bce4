"""Tests of gains: against exact and other people's computations, and against simulated chance."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from distill_lab.results.inference import holm, interval, mcnemar, verdict
from distill_lab.results.resampling import Resamples
from distill_lab.results.rowwise import mean_of, over

ALARMS = 0.06


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (7, 2), (3, 3), (40, 61), (1, 12)])
def test_mcnemar_is_the_binomial_test(won: int, lost: int) -> None:
    exact = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(exact, abs=1e-12)


def test_mcnemar_counts_the_ways() -> None:
    """By hand: of 2**6 ways in which six rows fall, those at least as one-sided as 5 to 1."""
    ways = list(product((0, 1), repeat=6))
    one_sided = sum(sum(way) in (0, 1, 5, 6) for way in ways)
    assert mcnemar(5, 1) == pytest.approx(one_sided / len(ways))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_never_rejects_what_bonferroni_keeps_alone() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        levels = random.random(6) ** 3
        assert all(level <= own <= 6 * level + 1e-12 or own == 1.0
                   for level, own in zip(levels, holm(list(levels)), strict=True))  # fmt: skip


def test_one_seed_is_student_t_of_the_differing_rows() -> None:
    """Rows that differ alone: the bootstrap's error is that of the mean, its p Student's."""
    random = np.random.default_rng(1)
    difference = random.normal(0.1, 1.0, size=400)
    samples = over([mean_of(difference)], Resamples(400, 4000))[0]
    found = interval([difference.mean()], samples, 400)
    exact = stats.ttest_1samp(difference, 0.0)
    low, high = exact.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
    assert found.p == pytest.approx(exact.pvalue, rel=0.15)


def test_the_bootstrap_agrees_with_scipy() -> None:
    random = np.random.default_rng(2)
    ours, theirs = (
        (random.random(500) < 0.8).astype(float),
        (random.random(500) < 0.75).astype(float),
    )
    samples = over([mean_of(ours - theirs)], Resamples(500, 4000))[0]
    other = stats.bootstrap(
        (ours, theirs), lambda a, b, axis: (a - b).mean(axis=axis), paired=True,
        n_resamples=4000, method="basic", random_state=3,
    )  # fmt: skip
    assert samples.std(ddof=1) == pytest.approx(other.standard_error, rel=0.06)


def test_many_rows_and_few_seeds_are_student_t_of_the_seeds() -> None:
    gains = [0.02, 0.05, 0.03, 0.04]
    found = interval(gains, np.full(100, 0.035), 10_000)
    exact = stats.ttest_1samp(gains, 0.0)
    assert found.p == pytest.approx(exact.pvalue, rel=1e-4)
    assert (found.low, found.high) == pytest.approx(tuple(exact.confidence_interval(0.95)))


def test_the_interval_reaches_zero_where_p_is_the_level() -> None:
    random = np.random.default_rng(4)
    samples = random.normal(0.0, 0.01, size=1000)
    rows, seeds = samples.var(ddof=1), np.var([0.01, 0.03, 0.02], ddof=1) / 3
    edge = math.sqrt(stats.t.ppf(0.975, 499) ** 2 * rows + stats.t.ppf(0.975, 2) ** 2 * seeds)
    for factor, wanted in ((1.001, True), (0.999, False)):
        gains = [edge * factor + d for d in (-0.01, 0.01, 0.0)]
        found = interval(gains, samples, 500)
        assert (found.p < 0.05) is wanted and (found.low > 0) is wanted


def test_models_that_answer_alike_do_not_differ() -> None:
    found = interval([0.0, 0.0], np.zeros(10), 0)
    assert (found.low, found.high, found.p) == (None, None, 1.0)


def test_a_few_rows_tell_no_more_than_their_signs() -> None:
    assert interval([1.0], np.ones(100), 3).p == 2 * 0.5**3
    assert interval([1.0], np.ones(100), 1).p == 1.0


def test_verdicts() -> None:
    assert verdict(0.1, 0.05) == "better"
    assert verdict(-0.1, 0.01) == "worse"
    assert verdict(0.1, 0.051) == "no evidence"


def _alarms(rows: int, seeds: int, of_seed: float, shared: float, times: int = 1500) -> float:
    """How often equal models are told apart.

    Each model of each seed has an ability of its own, `of_seed` wide; rows have difficulties that
    all models share, and some that only all students or only all baselines do.
    """
    random = np.random.default_rng([rows, seeds, int(1000 * of_seed)])
    samples, alarms = Resamples(rows, 400), 0
    for _ in range(times):
        hard = random.normal(size=rows)
        of_kind = random.normal(size=(2, 1, rows)) * shared
        ability = 1.2 + of_seed * random.normal(size=(2, seeds, 1))
        right = random.normal(size=(2, seeds, rows)) + of_kind + hard < ability
        gains = (right[0].mean(axis=1) - right[1].mean(axis=1)).tolist()
        differ = int((right[0] != right[1]).any(axis=0).sum())
        if seeds == 1:
            won = int((right[0] & ~right[1]).sum())
            p = mcnemar(won, int((right[1] & ~right[0]).sum()))
        else:
            mean = (right[0].astype(float) - right[1]).mean(axis=0)
            p = interval(gains, over([mean_of(mean)], samples)[0], differ).p
        alarms += p <= 0.05
    return alarms / times


@pytest.mark.parametrize(
    ("rows", "seeds", "of_seed", "shared"),
    [(277, 1, 0.0, 0.5), (277, 2, 0.0, 0.5), (277, 3, 0.0, 0.5), (277, 2, 0.1, 0.5),
     (277, 3, 0.1, 0.5), (1000, 3, 0.05, 0.0), (1000, 2, 0.3, 0.5), (1000, 3, 0.3, 0.5),
     (40, 3, 0.05, 0.5), (1000, 5, 0.1, 1.0)],
)  # fmt: skip
def test_equal_models_are_seldom_told_apart(
    rows: int, seeds: int, of_seed: float, shared: float
) -> None:
    assert _alarms(rows, seeds, of_seed, shared) <= ALARMS


def test_rows_alone_would_be_fooled_by_seeds() -> None:
    """The same simulation with what many papers do: seeds that differ, and a test of one pair."""
    assert _alarms(1000, 1, 0.3, 0.0, times=300) > 0.3


def test_a_real_gain_is_seen() -> None:
    random = np.random.default_rng(5)
    hard, found = random.normal(size=1000), 0
    for _ in range(50):
        ability = np.array([1.5, 1.2])[:, None, None] + 0.02 * random.normal(size=(2, 3, 1))
        right = random.normal(size=(2, 3, 1000)) * 0.7 + hard < ability
        gains = (right[0].mean(axis=1) - right[1].mean(axis=1)).tolist()
        mean = (right[0].astype(float) - right[1]).mean(axis=0)
        p = interval(gains, over([mean_of(mean)], Resamples(1000, 400))[0], 500).p
        found += p <= 0.05
    assert found >= 40


def test_f1_of_one_seed_raises_few_alarms() -> None:
    from distill_lab.results.rowwise import f1

    random, alarms, times = np.random.default_rng(6), 0, 800
    samples = Resamples(408, 400)
    for _ in range(times):
        label = (random.random(408) < 0.68).astype(np.int64)
        hard = random.normal(size=408)
        wrong = random.normal(size=(2, 408)) + hard > 1.3
        models = [f1(np.where(own, 1 - label, label), label) for own in wrong]
        ours, theirs = over(models, samples)
        gain = models[0].value() - models[1].value()
        alarms += interval([gain], ours - theirs, int((wrong[0] != wrong[1]).sum())).p <= 0.05
    assert alarms / times <= ALARMS
