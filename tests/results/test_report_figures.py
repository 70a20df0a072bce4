"""The report's figures: axes, points, bins, curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from distill_lab.results.compare import Line, Spread
from distill_lab.results.gains import Gain
from distill_lab.results.report.calibration import reliability, softmax
from distill_lab.results.report.curves import averaged, thinned
from distill_lab.results.report.heat import axes, in_order, map_of
from distill_lab.results.report.pareto import on_front
from distill_lab.results.report.softness import samples
from distill_lab.tasks.fidelity import fidelity
from distill_lab.types import Problem


def line(
    label: dict[str, str], mean: float = 0.8, seeds: int = 2, metric: str = "accuracy"
) -> Line:
    gain = Gain(
        each=(mean - 0.7,) * seeds, mean=mean - 0.7, sd=0.01, low=mean - 0.75, high=mean - 0.65,
        p=0.01, adjusted=0.02, test="test",
    )  # fmt: skip
    spread = Spread(mean, 0.01 if seeds > 1 else None, seeds)
    runs: list[Any] = [None] * seeds
    return Line(
        "student", label, list(range(seeds)), 0.7, {metric: spread}, {metric: gain}, 0.9, 10,
        results=runs,
    )  # fmt: skip


def grid(*values: tuple[str, str]) -> list[Line]:
    return [line({"objective.temperature": t, "objective.lam": lam}) for t, lam in values]


def test_temperature_and_lam_are_the_axes_whatever_else_varies_more() -> None:
    lines = [
        line({"optim.lr": str(lr), "objective.lam": lam, "objective.temperature": t})
        for lr in range(5) for lam in ("0.5", "0.9") for t in ("1", "4")
    ]  # fmt: skip
    assert axes(lines) == ["objective.temperature", "objective.lam"]
    assert len(map_of(lines).views) == 2 * 5  # score and gain for each learning rate


def test_other_axes_are_those_of_most_values() -> None:
    lines = [
        line({"a": str(a), "b": str(b), "c": str(c)})
        for a in range(2) for b in range(4) for c in range(3)
    ]  # fmt: skip
    assert axes(lines) == ["b", "c"]
    assert axes([line({"a": "1"}), line({"a": "1"})]) == []


def test_one_axis_is_a_line_and_none_is_said() -> None:
    one = map_of([line({"optim.lr": lr}) for lr in ("1e-3", "1e-4", "3e-4")])
    trace = one.views[0].spec["data"][0]
    assert trace["type"] == "scatter" and trace["x"] == ["1e-4", "3e-4", "1e-3"]
    gain = one.views[1].spec["data"][0]
    assert gain["error_y"]["array"] == pytest.approx([0.05] * 3)
    assert not map_of([line({})]).views


def test_a_map_has_its_numbers_in_their_places() -> None:
    lines = grid(("10", "0.5"), ("2", "0.5"), ("2", "0.9"))
    lines[0] = line({"objective.temperature": "10", "objective.lam": "0.5"}, 0.91, seeds=1)
    heat = map_of(lines).views[0].spec["data"][0]
    assert heat["x"] == ["2", "10"] and heat["y"] == ["0.5", "0.9"]
    assert heat["z"] == [[0.8, 0.91], [0.8, None]]
    assert heat["text"][0] == ["0.8000", "0.9100*"]  # the mark of one seed
    assert "1 seed" in heat["hovertext"][0][1] and "[+0.1600" in heat["hovertext"][0][1]
    assert "one seed" in " ".join(map_of(lines).about)
    assert "one seed" not in " ".join(map_of(lines[1:]).about)


def test_less_is_better_turns_the_colours() -> None:
    more = map_of(grid(("1", "0.5"), ("1", "0.9"), ("2", "0.5"))).views[0].spec["data"][0]
    both = [("1", "0.5"), ("1", "0.9"), ("2", "0.5")]
    lines = [
        line({"objective.temperature": t, "objective.lam": lam}, metric="perplexity")
        for t, lam in both
    ]
    less = map_of(lines).views[0].spec["data"][0]
    assert less["colorscale"][0][1] == more["colorscale"][-1][1]


def test_a_random_search_is_points() -> None:
    lines = grid(*((str(t), str(t / 10)) for t in range(1, 8)))
    assert map_of(lines).views[0].spec["data"][0]["type"] == "scatter"


def test_words_keep_their_order_and_numbers_are_sorted() -> None:
    assert in_order(["10", "9", "1e-3", "10"]) == ["1e-3", "9", "10"]
    assert in_order(["hinton", "dkd", "hinton"]) == ["hinton", "dkd"]


def test_a_name_with_marks_is_shown_as_it_is() -> None:
    lines = [line({"a": v}) for v in ("<b>x</b>", "y")]
    trace = map_of(lines).views[0].spec["data"][0]
    assert trace["x"][0] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<b>" not in trace["hovertext"][0]


@pytest.mark.parametrize("way", [1, -1])
def test_the_front_is_that_of_the_definition(way: int) -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        points = [tuple(map(float, pair)) for pair in random.integers(0, 5, size=(8, 2))]

        def dominated(p: Any, points: Any = points) -> bool:
            return any(q[0] <= p[0] and way * q[1] >= way * p[1] and q != p for q in points)

        assert on_front(points, way) == [not dominated(p) for p in points]  # type: ignore[arg-type]


def test_reliability_of_a_model_that_knows_itself() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(40_000, 3)) * 2
    shares = softmax(logits)
    labels = (random.random((len(shares), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert reliability(logits, labels).error < 0.01
    wrong = (logits.argmax(axis=1) + 1) % 3
    found = reliability(logits, wrong)
    assert found.error == pytest.approx(float(shares.max(axis=1).mean()))
    assert found.rows.sum() == len(logits) and (found.accuracy == 0).all()


def test_the_error_is_that_which_the_run_has_told() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(60, 3)), random.integers(3, size=60)
    table = {"label": labels, "student_logits": list(logits), "student": logits.argmax(axis=1)}
    told = fidelity(Problem("classification", ("a", "b", "c")), table)["student"]
    error = reliability(logits, labels.astype(float)).error
    assert error == pytest.approx(told["calibration_error"], abs=1e-6)


def test_calibration_error_by_hand() -> None:
    odds = [math.log(0.8 / 0.2), math.log(0.6 / 0.4)]
    logits = np.array([[odds[0], 0.0]] * 4 + [[odds[1], 0.0]] * 2)
    labels = np.array([0, 0, 1, 1, 0, 1])
    # four rows 0.8 sure, half of them right; two 0.6 sure, half of them right
    assert reliability(logits, labels).error == pytest.approx((4 * 0.3 + 2 * 0.1) / 6)
    # of 15 bins 0.61 and 0.65 are in one, where one of two is right; 0.65 and 0.68 in two
    for sure, error in (((0.61, 0.65), 0.13), ((0.65, 0.68), (0.65 + 0.32) / 2)):
        logits = np.array([[math.log(s / (1 - s)), 0.0] for s in sure])
        assert reliability(logits, np.array([1, 0])).error == pytest.approx(error)


def test_softer_at_a_higher_temperature() -> None:
    z = np.array([[2.0, 0.0, -1.0]])
    assert softmax(z, 4.0)[0] == pytest.approx(np.exp(z[0] / 4) / np.exp(z[0] / 4).sum())
    assert softmax(z, 20.0).max() < softmax(z, 1.0).max()


def test_samples_go_from_sure_to_doubtful_and_none_is_there_twice() -> None:
    logits = np.linspace(0, 5, 1000)[:, None] * np.array([[1.0, 0.0]])
    chosen = samples(logits)
    assert chosen[0] == 999 and chosen[-1] == 0 and chosen == sorted(chosen, reverse=True)
    assert samples(logits[:2]) == [1, 0]


def test_curves_are_thinned_to_means() -> None:
    steps, values = np.arange(1000), np.arange(1000.0)
    found = thinned(steps, values, 10)
    assert found == ([100 * i + 99 for i in range(10)], [100 * i + 49.5 for i in range(10)])
    assert thinned(steps[:3], values[:3]) == ([0, 1, 2], [0.0, 1.0, 2.0])


def test_the_mean_of_curves_is_at_the_steps_of_all() -> None:
    one, other = ([1, 2, 3], [1.0, 2.0, 3.0]), ([1, 3], [3.0, 5.0])
    assert averaged([one, other]) == ([1, 3], [2.0, 4.0])
    assert averaged([one, ([7], [0.0])]) == one
