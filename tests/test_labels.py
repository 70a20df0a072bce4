"""Which answer of a classifier is which label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig

from distill_lab.errors import ModelError
from distill_lab.labels import contradicts_itself, is_generic, label_order, reorder_head
from distill_lab.results import Result
from tests.stacks import SIZES, stack
from tests.test_bad_input import copied

Go = Callable[..., Result]


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["a", "b", "c"], ["c", "a", "b"], [2, 0, 1]),
        (["NOT ENTAILMENT", "Entailment"], ["entailment", "not_entailment"], [1, 0]),
        (["a", "b"], ["a", "c"], None),
        (["a", "b", "c"], ["a", "b"], None),
        (["not-a", "not a"], ["not_a", "a"], None),
    ],
)
def test_orders_are_told_by_name(
    names: list[str], wanted: list[str], expected: list[int] | None
) -> None:
    assert label_order(names, wanted) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["LABEL_0", "LABEL_1"], True), (["0", "1"], True), (["1 star", "2 stars"], False)],
)
def test_names_that_say_nothing(names: list[str], expected: bool) -> None:
    assert is_generic(names) is expected


def test_two_tables_that_contradict_each_other() -> None:
    names = {0: "a", 1: "b"}
    assert contradicts_itself(BertConfig(id2label=names, label2id={"a": 1, "b": 0}))
    assert not contradicts_itself(BertConfig(id2label=names, label2id={"a": 0, "b": 1}))
    assert contradicts_itself(BertConfig(id2label=names, label2id={"A": 1, "B": 0}))


@pytest.mark.parametrize("kind", SIZES)
def test_every_head_can_be_put_in_order(kind: str) -> None:
    model = stack(kind)
    tokens = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        before = model(tokens).logits
        reorder_head(model, [2, 0, 1], "teacher.model=x", "teacher.finetune")
        torch.testing.assert_close(model(tokens).logits, before[:, [2, 0, 1]])


def test_a_head_that_cannot_be_put_in_order_is_refused() -> None:
    model = stack("bert")
    model.classifier = nn.Sequential(model.classifier, nn.Softmax(dim=1), nn.Linear(3, 3))
    reorder_head(model, [2, 0, 1], "teacher.model=x", "teacher.finetune")
    model.classifier.append(nn.LayerNorm(3))
    model.classifier[3].weight.data = torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(
        ModelError, match=r"no last layer that could be re-ordered.*teacher\.finetune=true"
    ):
        reorder_head(model, [2, 0, 1], "teacher.model=x", "teacher.finetune")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reorder_head(model, [2, 0, 1], "teacher.model=x", None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def renamed(
    finetuned: Path, to: Path, names: list[str], back: dict[str, int] | None = None
) -> Path:
    folder = copied(finetuned, to)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(index): name for index, name in enumerate(names)}
    config["label2id"] = back or {name: index for index, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_teacher_with_labels_in_another_order_teaches_the_same(lab: Go, tmp_path: Path) -> None:
    """The rows have the other order too; the same answers, the same student, up to the order."""
    one = lab("task.labels=[negative,positive]", out="one")
    other = lab("task.labels=[positive,negative]", out="other")
    assert other.metrics["teacher"] == one.metrics["teacher"]
    assert other.metrics["student"] == pytest.approx(one.metrics["student"], abs=0.02)
    assert one.metrics["teacher"]["accuracy"] > 0.9


def test_generic_names_are_taken_in_their_order(lab: Go, finetuned: Path, tmp_path: Path) -> None:
    folder = renamed(finetuned, tmp_path / "generic", ["LABEL_0", "LABEL_1"])
    result = lab(f"teacher.model={folder}", "trainer.max_steps=1", "baseline=false")
    assert result.metrics["teacher"]["accuracy"] > 0.9


def test_other_names_are_refused(lab: Go, finetuned: Path, tmp_path: Path) -> None:
    folder = renamed(finetuned, tmp_path / "other", ["bad", "good"])
    with pytest.raises(ModelError, match="the names do not tell which is which"):
        lab(f"teacher.model={folder}")


def test_a_contradiction_is_refused(lab: Go, finetuned: Path, tmp_path: Path) -> None:
    back = {"negative": 1, "positive": 0}
    folder = renamed(finetuned, tmp_path / "odd", ["negative", "positive"], back)
    with pytest.raises(ModelError, match="contradict each other"):
        lab(f"teacher.model={folder}")


def test_a_pretrained_student_is_put_in_order_too(lab: Go, finetuned: Path) -> None:
    student = ["student=pretrained", f"student.model={finetuned}", "trainer.max_steps=1"]
    result = lab("task.labels=[positive,negative]", "optim.lr=1e-9", "baseline=false", *student)
    assert result.metrics["student"]["accuracy"] > 0.9
