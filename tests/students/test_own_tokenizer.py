"""Student and teacher that each read the rows by their own tokeniser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

from distill_lab.errors import ConfigError
from distill_lab.new_models import longest_input, new_model
from distill_lab.results import Result
from distill_lab.tasks.rows import Rows
from distill_lab.tasks.tokens import encode
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.types import Problem
from tests.conftest import BAD, GOOD, TINY, sentences
from tests.stacks import stack

Go = Callable[..., Result]


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose vocabulary is that of other texts."""
    folder = tmp_path_factory.mktemp("other") / "student"
    text = ["zebra xylophone quartz", " ".join(GOOD), " ".join(BAD), "brown foxes jump"] * 9
    tokenizer = train_tokenizer(rows(text), 300, 64)
    torch.manual_seed(3)
    model = new_model(TINY, tokenizer, 64, Problem("classification", ("a", "b")), "tests")
    model.bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows(text: list[str]) -> Rows:
    return Rows(np.arange(len(text)), text, None, np.zeros(len(text), dtype=np.int64))


def test_rows_as_both_read_them() -> None:
    text = list(sentences(12)["text"])
    one, two = train_tokenizer(rows(text), 280, 64), train_tokenizer(rows(text), 400, 64)
    ours, theirs = (encode(rows(text), tokenizer, 64) for tokenizer in (one, two))
    batch = ours.beside(theirs).__getitems__([7, 2, 9])
    teacher = batch.for_teacher()
    assert batch.ids.tolist() == teacher.ids.tolist() == [7, 2, 9]
    for index, row in enumerate((7, 2, 9)):
        for tokenizer, side in ((one, batch), (two, teacher)):
            tokens = side.inputs["input_ids"][index][side.mask[index].bool()]
            assert tokens.tolist() == tokenizer(text[row])["input_ids"]
    assert ours.__getitems__([1]).for_teacher().inputs["input_ids"].shape[0] == 1


def test_a_student_with_its_own_tokeniser_is_distilled(
    lab: Go, tmp_path: Path, other: Path, rows_file: Path
) -> None:
    student = ["student=pretrained", f"student.model={other}", "student.own_tokenizer=true"]
    alone = lab(out="alone")
    result = lab(*student, "trainer.max_epochs=4", "optim.lr=2e-3", "optim.batch_size=8")
    assert result.metrics["teacher"] == alone.metrics["teacher"]
    assert result.metrics["student"]["accuracy"] > 0.8
    assert result.fingerprints["tokenizer"] != alone.fingerprints["tokenizer"]
    assert result.fingerprints["teacher_tokenizer"] == alone.fingerprints["tokenizer"]
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet").head(15)
    classify = pipeline("text-classification", model=str(tmp_path / "run" / "student"))
    texts, cut = pd.read_csv(rows_file)["text"], {"truncation": True, "max_length": 32}
    answers = [a["label"] for a in classify(list(texts[table["id"]]), **cut)]
    assert answers == [("negative", "positive")[i] for i in table["student"]]


def test_the_same_tokeniser_twice_changes_nothing(lab: Go, tmp_path: Path, finetuned: Path) -> None:
    student = ["student=pretrained", f"student.model={finetuned}", "trainer.max_steps=3"]
    for own in ("true", "false"):
        lab(*student, f"student.own_tokenizer={own}", out=own)
    one, two = (
        pd.read_parquet(tmp_path / own / "predictions.parquet") for own in ("true", "false")
    )
    for model in ("teacher", "student", "baseline"):
        logits = [np.stack(table[f"{model}_logits"]) for table in (one, two)]
        assert (logits[0] == logits[1]).all()


def test_tokens_that_differ_are_not_compared(lab: Go, other: Path) -> None:
    with pytest.raises(ConfigError, match="belong to tokens"):
        lab("student=pretrained", f"student.model={other}", "student.own_tokenizer=true",
            "objective=rkd")  # fmt: skip


def test_rows_longer_than_the_student_are_refused(lab: Go, tmp_path: Path, other: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.max_length=64: student\.model=.* at most 48"):
        short = tmp_path / "short"
        tokenizer = train_tokenizer(rows(["good bad awful"] * 9), 300, 48)
        problem = Problem("classification", ("a", "b"))
        new_model(TINY, tokenizer, 48, problem, "tests").save_pretrained(short)
        tokenizer.save_pretrained(short)
        lab("task.max_length=64", "student=pretrained", f"student.model={short}",
            "student.own_tokenizer=true")  # fmt: skip


def test_roberta_never_uses_its_first_positions() -> None:
    config = stack("roberta", pad_token_id=1).config
    assert longest_input(config, 31) == 30 and longest_input(config, 8) == 32
    assert longest_input(stack("bert").config, 31) == 32
