"""Overrides as an overlay."""

from __future__ import annotations

from pathlib import Path

import yaml

from distill_lab.search.overlay import Overlay


def test_choices_values_and_what_no_file_can_hold() -> None:
    lines = ["experiments=base", "task=glue/rte", "+trainer.a.b=[1,2]", "~logger.csv",
             "task.train_file='a b'", "optim.lr=1e-5", "student.select=null", "seed=3"]  # fmt: skip
    overlay = Overlay(lines, "mine-best", ["hydra.searchpath=[file:///x]"])
    text = overlay.text("metric 0.9", Path("runs/my study"), "best")
    assert text.startswith("# @package _global_\n# metric 0.9. Use:\n")
    content = yaml.safe_load(text)
    assert content.pop("defaults") == ["base", "_self_", {"override /task": "glue/rte"}]
    assert content == {
        "task": {"train_file": "a b"}, "trainer": {"a": {"b": [1, 2]}}, "optim": {"lr": 1e-5},
        "student": {"select": None}, "seed": 3, "study": "mine-best",
    }  # fmt: skip
    command = overlay.command(Path("runs/my study"), "best")
    assert command == (
        "distill-lab train --config-dir 'runs/my study' experiments=best"
        " 'hydra.searchpath=[file:///x]' '~logger.csv'"
    )
    assert command in text


def test_interpolations_stay_as_typed() -> None:
    content = yaml.safe_load(Overlay(["optim.lr=${recipe.lr}"], "x", []).text("", Path("x"), "b"))
    assert content["optim"] == {"lr": "${recipe.lr}"}
