"""The parity benchmark without any of the packages: restated formulas, weights, and its alarms."""

from dataclasses import replace
from importlib import import_module

import benchmarks.parity as parity
import pytest
from benchmarks.parity_measure import TOLERANCE, gradient, hinton, measure, times, tokens
from benchmarks.parity_recipes import SOURCES, Recipe, recipes, restated, weights

ROWS, RECIPES = list(restated()), list(recipes())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.source)
def test_a_restated_formula_has_the_stated_cause(row):
    assert measure(row).holds


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.source)
def test_a_recipe_has_the_stated_weights(recipe: Recipe):
    soft, hard, left = weights(recipe)
    assert left < TOLERANCE
    close = {"abs": TOLERANCE * recipe.scale}
    assert (soft, hard) == pytest.approx((recipe.soft, recipe.hard), **close)


def test_every_recipe_says_where_it_was_read():
    assert {recipe.source for recipe in RECIPES} <= set(SOURCES)
    assert {row.source.removesuffix(" (restated)") for row in ROWS} <= set(SOURCES)


def test_pkd_on_two_classes_weighs_the_teacher_half_as_much_as_it_says():
    pkd = next(one for one in RECIPES if (one.source, one.case.classes) == ("PKD", 2))
    assert (pkd.soft, pkd.hard) == (0.35, 0.3)
    assert pkd.lam == pytest.approx(0.5385, abs=1e-4)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.source)
def test_a_wrong_cause_is_noticed(row):
    off = times(row.explained, lambda case, temperature: 1.0001)
    assert not measure(replace(row, explained=off)).holds


def test_pads_are_in_none_of_our_gradients():
    case = tokens()
    found = gradient(hinton, case, 2.0)
    assert found[~case.mask].abs().max() == 0
    assert found[case.mask].abs().min() > 0


def test_without_packages_the_page_says_what_is_left_out(tmp_path, monkeypatch):
    absent = {"no-such-package": (lambda: iter(()), "no-such-package")}
    monkeypatch.setattr(parity, "PACKAGES", absent)
    page = tmp_path / "parity.md"
    assert parity.main(["--markdown", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "no-such-package: not installed" in text
    assert "| PKD | KD alone, alpha .7 | 2 | 20 | 0.35 | 0.3 | 0.5385 | 0.65 |" in text


def test_a_moved_function_and_a_wrong_weight_end_in_1(tmp_path, monkeypatch, capsys):
    def moved():
        import_module("torch.no_such_module")
        yield

    wrong = [replace(recipe, soft=recipe.soft * 1.01) for recipe in RECIPES]
    monkeypatch.setattr(parity, "PACKAGES", {"torch": (moved, "torch")})
    monkeypatch.setattr(parity, "recipes", lambda: wrong)
    page = tmp_path / "parity.md"
    assert parity.main(["--markdown", str(page)]) == 1
    said = capsys.readouterr().err
    assert "its loss cannot be called" in said
    assert "stated soft" in said
    assert not page.exists()
