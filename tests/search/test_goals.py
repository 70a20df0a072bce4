"""What a search is for."""

from __future__ import annotations

from typing import Any

import pytest

from distill_lab.errors import ConfigError, UsageError
from distill_lab.search.goals import Goal, parse_goals

CONTENT = {"cost": {"student": {"selection": 0.9, "parameters": 1000, "seconds": None}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("metric", [("cost.student.selection", "maximize")]),
        (["metric", "parameters"], [("cost.student.selection", "maximize"),
                                    ("cost.student.parameters", "minimize")]),
        ({"metric": None, "cost.student.seconds": "minimize"},
         [("cost.student.selection", "maximize"), ("cost.student.seconds", "minimize")]),
        ({"parameters": "maximize"}, [("cost.student.parameters", "maximize")]),
    ],
)  # fmt: skip
def test_names_and_places(given: Any, expected: list[tuple[str, str]]) -> None:
    assert [(goal.path, goal.direction) for goal in parse_goals(given)] == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["metrics.student.accuracy"], "evaluation split, which is only reported"),
        (["retention"], "evaluation split"),
        ({"gain": "maximize"}, "evaluation split"),
        (["metrik"], "did you mean 'metric'"),
        (["cost.student.x"], r"\{cost.student.x: minimize\}"),
        ({"parameters": "down"}, "neither maximize nor minimize"),
        ({"metric": "minimize"}, "which way the metric is better is known"),
        ([], "name what is searched for"),
        (None, "name what is searched for"),
    ],
)
def test_others_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_goals(given)


def test_numbers_are_read_or_missed() -> None:
    assert [goal.read(CONTENT) for goal in parse_goals(["metric", "parameters"])] == [0.9, 1000]
    less = {**CONTENT, "metric": "perplexity"}  # a search maximises it all the same
    assert parse_goals("metric")[0].read(less) == -0.9
    with pytest.raises(UsageError, match=r"no number at cost\.student\.seconds"):
        parse_goals(["seconds"])[0].read(CONTENT)
    with pytest.raises(UsageError, match="reach the end of an epoch"):
        parse_goals("metric")[0].read({"cost": {"student": {"selection": None}}})
    with pytest.raises(UsageError, match="no number"):
        Goal("x", "cost.student.selection.deeper", "minimize").read(CONTENT)
