"""Students made of the teacher's layers, for every kind of stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.results import Result
from distill_lab.students.layers import Layers, select_layers
from distill_lab.students.stack import stack_name
from distill_lab.types import Problem
from tests.stacks import SIZES, stack

LISTS = {
    "bert": "bert.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
    "gpt2": "transformer.h",
    "llama": "model.layers",
}


# The rows themselves are only for narrower students.
ROWS: Any = SimpleNamespace(problem=Problem("classification", ("a", "b", "c")))


def taken(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """A student of these layers of a model."""
    teacher = SimpleNamespace(model=model)
    student = Layers(num_layers=len(layers), select=list(layers))
    return student.build(teacher, ROWS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SIZES)
def test_all_layers_give_the_teacher_itself(kind: str) -> None:
    model = stack(kind)
    student = taken(model, range(4)).eval()
    tokens = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(student(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind != "modernbert"])
def test_chosen_layers_are_copied_in_order(kind: str) -> None:
    model = stack(kind)
    student = taken(model, [1, 3])
    assert student.config.num_hidden_layers == 2 and model.config.num_hidden_layers == 4
    ours, theirs = (m.get_submodule(stack_name(m)) for m in (student, model))
    for new, old in enumerate((1, 3)):
        for name, value in theirs[old].state_dict().items():
            assert torch.equal(value, ours[new].state_dict()[name])
    head = [name for name in model.state_dict() if not name.startswith(stack_name(model))]
    assert all(torch.equal(model.state_dict()[name], student.state_dict()[name]) for name in head)


def test_modernbert_layers_change_place_without_their_norm() -> None:
    model = stack("modernbert")
    last = taken(model, [2, 3])
    inner, outer = last.model.layers, model.model.layers
    assert "attn_norm.weight" not in inner[0].state_dict()
    assert torch.equal(inner[0].attn.Wqkv.weight, outer[2].attn.Wqkv.weight)
    assert torch.equal(inner[1].attn_norm.weight, outer[3].attn_norm.weight)
    swapped = taken(model, [1, 0])
    assert (swapped.model.layers[1].attn_norm.weight == 1).all()


def test_layers_that_are_not_alike_are_refused() -> None:
    model = stack("bert")
    model.bert.encoder.layer[1].register_parameter("extra", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(ConfigError, match="are not alike"):
        taken(model, [1, 2])


def test_the_student_shares_no_memory_with_the_teacher() -> None:
    model = stack("bert")
    student = taken(model, [0])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert any(parameter.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("kind", "sizes", "said"),
    [
        ("albert", {"num_hidden_layers": 4}, "no single stack of 4 layers"),
        ("bart", {"encoder_layers": 4, "decoder_layers": 4}, "no single stack of 4 layers"),
        ("t5", {"num_layers": 4}, "no single stack of 4 layers"),
    ],
)
def test_stacks_that_cannot_be_taken_apart_are_refused_before_training(
    kind: str, sizes: dict[str, int], said: str
) -> None:
    config = AutoConfig.for_model(kind, **sizes)
    with pytest.raises(ConfigError, match=said):
        Layers(num_layers=2).check(config, ROWS)
    assert Layers(num_layers=2, select="random").check(config, ROWS).num_hidden_layers == 2


@pytest.mark.parametrize("kind", SIZES)
def test_the_trial_takes_no_memory_and_says_what_will_be_built(kind: str) -> None:
    model = stack(kind)
    student = Layers(num_layers=2, select="first")
    built = student.build(SimpleNamespace(model=model), ROWS)  # type: ignore[arg-type]
    assert student.check(model.config, ROWS).to_dict() == built.config.to_dict()


@pytest.mark.parametrize(("kind", "name"), LISTS.items())
def test_the_stack_is_found(kind: str, name: str) -> None:
    assert stack_name(stack(kind)) == name


@pytest.mark.parametrize(
    ("total", "keep", "select", "expected"),
    [
        (12, 6, "uniform", [0, 2, 4, 7, 9, 11]),
        (12, 6, "distilbert", [0, 2, 4, 7, 9, 11]),
        (12, 4, "uniform", [0, 4, 7, 11]),
        (6, 3, "uniform", [0, 2, 5]),
        (12, 12, "uniform", list(range(12))),
        (12, 1, "uniform", [11]),
        (12, 3, "first", [0, 1, 2]),
        (12, 3, "last", [9, 10, 11]),
        (12, 3, [11, 0, 5], [11, 0, 5]),
    ],
)
def test_selection(total: int, keep: int, select: str, expected: list[int]) -> None:
    assert select_layers(total, keep, select) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keep", "select"),
    [(13, "uniform"), (2, [0, 12]), (2, [0, 1, 2]), (2, [3, 3]), (4, "distilbert"), (0, "first")],
)
def test_what_the_teacher_has_not_is_refused(keep: int, select: str) -> None:
    with pytest.raises(ConfigError):
        select_layers(12, keep, select)  # type: ignore[arg-type]


def test_the_control_takes_nothing_of_the_teacher(lab: Callable[..., Result]) -> None:
    """Neither embeddings nor layers nor head; the network is the same, the seed draws it."""
    taken = lab("student.select=first", "trainer.max_steps=1", out="taken")
    drawn = lab("student.select=random", "trainer.max_steps=1", out="drawn")
    other = lab("student.select=random", "trainer.max_steps=1", "seed=2", out="other")
    assert taken.parameters("student") == drawn.parameters("student")
    assert drawn.metrics["student"]["accuracy"] < taken.metrics["student"]["accuracy"] - 0.1
    assert drawn.fingerprints["student"] != other.fingerprints["student"]
    assert drawn.config["student"]["select"] == "random"
