"""Several teachers that answer as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from distill_lab.errors import ConfigError
from distill_lab.models import load_tokenizer
from distill_lab.objectives.hinton import soft_loss
from distill_lab.results import Result
from distill_lab.teachers import Ensemble, FineTuned
from distill_lab.teachers.ensemble import average_logits

Go = Callable[..., Result]
WEIGHTS = [0.5, 0.3, 0.2]


def drawn(labels: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(6, labels, generator=generator) for _ in WEIGHTS]


def probabilities(row: list[float]) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def test_the_mean_of_probabilities() -> None:
    logits = drawn()
    found = average_logits(logits, WEIGHTS, "probabilities").exp()
    for row in range(6):
        members = [probabilities(each[row].tolist()) for each in logits]
        for column in range(4):
            mean = sum(w * p[column] for w, p in zip(WEIGHTS, members, strict=True))
            assert found[row, column].item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_of_logits_is_the_geometric_mean_at_every_temperature(temperature: float) -> None:
    logits = drawn()
    found = (average_logits(logits, WEIGHTS, "logits") / temperature).softmax(dim=1)
    powers = torch.stack(
        [(each / temperature).softmax(dim=1) ** w for each, w in zip(logits, WEIGHTS, strict=True)]
    ).prod(dim=0)
    torch.testing.assert_close(found, powers / powers.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_one_member_and_members_of_no_weight(average: Any) -> None:
    first, second, _ = drawn()
    alone = average_logits([first], [1.0], average)
    assert soft_loss(alone, first, 2.0).item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(average_logits([first, second], [1.0, 0.0], average), alone)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_a_regression_has_the_mean_of_the_numbers(average: Any) -> None:
    logits = drawn(labels=1)
    expected = sum(w * each for w, each in zip(WEIGHTS, logits, strict=True))
    torch.testing.assert_close(average_logits(logits, WEIGHTS, average), expected)


def test_the_members_answers_make_the_teachers(
    lab: Go, tmp_path: Path, finetuned: Path, encoder: Path
) -> None:
    ensemble = ["teacher=ensemble", "teacher.each.epochs=2", "teacher.each.lr=2e-3",
                "teacher.each.batch_size=8", f"teacher.models=[{finetuned},{encoder}]"]  # fmt: skip
    result = lab(*ensemble, "teacher.weights=[3,1]", "trainer.max_steps=4", out="both")
    table = pd.read_parquet(tmp_path / "both" / "predictions.parquet")
    logits, parameters = [], 0
    for model in (finetuned, encoder):
        own = lab(
            f"teacher.model={model}", "teacher.epochs=2", "trainer.max_steps=1", out=model.name
        )
        parameters += own.parameters("teacher")
        alone = pd.read_parquet(tmp_path / model.name / "predictions.parquet")
        logits.append(torch.tensor(alone["teacher_logits"].tolist()))
    expected = average_logits(logits, [0.75, 0.25], "probabilities")
    torch.testing.assert_close(torch.tensor(table["teacher_logits"].tolist()), expected)
    assert result.choices["teacher_name"] == f"{finetuned.name} + {encoder.name}"
    assert result.parameters("teacher") == parameters
    assert len(list((tmp_path / "store" / "teachers").glob("*/entry.json"))) == 1


def test_a_model_named_twice_is_two_teachers(lab: Go, tmp_path: Path, encoder: Path) -> None:
    result = lab(
        "teacher=ensemble", "teacher.each.epochs=2", "teacher.each.lr=2e-3",
        "teacher.each.batch_size=8", f"teacher.models=[{encoder},{encoder}]",
        "objective.lam=1", "baseline=false",
    )  # fmt: skip
    assert result.choices["teacher_name"] == "2 x encoder"
    assert len(list((tmp_path / "store" / "teachers").glob("*/entry.json"))) == 2
    assert len(list((tmp_path / "store" / "answers").glob("*/entry.json"))) == 2


def test_one_member_teaches_as_alone(lab: Go, finetuned: Path) -> None:
    alone = lab(out="alone")
    together = lab("teacher=ensemble", f"teacher.models=[{finetuned}]", out="together")
    for model in ("teacher", "baseline"):
        assert together.metrics[model] == alone.metrics[model]
    assert together.metrics["student"] == pytest.approx(alone.metrics["student"], abs=0.03)


def test_what_looks_inside_is_refused(lab: Go, finetuned: Path) -> None:
    with pytest.raises(ConfigError, match="have no mean"):
        lab("teacher=ensemble", f"teacher.models=[{finetuned}]", "objective=hidden")


def test_a_finetuned_model_named_twice_is_refused(lab: Go, finetuned: Path) -> None:
    with pytest.raises(ConfigError, match="there twice"):
        lab("teacher=ensemble", f"teacher.models=[{finetuned},{finetuned}]")


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [math.nan, 1.0]])
def test_weights_that_do_not_belong_are_refused(weights: list[float]) -> None:
    each = FineTuned(epochs=1, lr=1e-3, model="a")
    with pytest.raises(ConfigError, match=r"teacher\.weights"):
        Ensemble(each=each, models=["a", "b"], weights=weights)
    with pytest.raises(ConfigError, match="at least one model"):
        Ensemble(each=each, models=[])


def test_spellings_of_a_folder_are_one_model_and_other_folders_are_others(
    finetuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finetuned.parent)
    each = FineTuned(epochs=1, lr=1e-3, model="a", seed=5)
    name = finetuned.name
    ensemble = Ensemble(each=each, models=[name, f"./{name}/", str(finetuned)])
    assert [member.seed for member in ensemble.members] == [5, 6, 7]
    assert ensemble.name == f"3 x {name}"
    other = tmp_path / name
    other.mkdir()
    assert Ensemble(each=each, models=[name, str(other)]).name == f"{name} + {other}"


def test_new_members_read_with_the_tokeniser_of_the_named(finetuned: Path) -> None:
    each = FineTuned(epochs=1, lr=1e-3, scratch={"model_type": "bert"})
    ensemble = Ensemble(each=each, models=[None, str(finetuned)])
    nothing: Any = None
    own = load_tokenizer(str(finetuned), "teacher.model")
    assert ensemble.tokenizer(nothing, nothing).get_vocab() == own.get_vocab()
