"""What is read: the same rows by all, of all lengths, in the lab's own batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertConfig

from distill_lab.bench.passes import load_passes
from distill_lab.bench.texts import BATCHES, SINGLE, FixedTexts, TaskTexts, choose, evenly
from distill_lab.config import build
from distill_lab.errors import DataError
from distill_lab.hydra_entry import compose
from distill_lab.models import load_tokenizer
from distill_lab.store import Store
from distill_lab.tasks import Task
from distill_lab.tasks.tokens import TokenRows
from distill_lab.tasks.vocabulary import train_tokenizer
from tests.conftest import tiny

CONFIG = BertConfig(vocab_size=50)


def rows_of(lengths: list[int]) -> TokenRows:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.arange(len(lengths))
    tokens = np.arange(offsets[-1], dtype=np.int32)
    return TokenRows(ids, ids, {"input_ids": tokens}, offsets, {"input_ids": 0})


def test_positions_are_the_middles_of_equal_parts() -> None:
    assert evenly(10, 2) == [2, 7]
    assert evenly(3, 50) == [0, 1, 2]
    assert evenly(100, 4) == [12, 37, 62, 87]


def test_rows_are_taken_from_all_over_the_lengths_and_batches_as_the_lab_scores() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 1000).tolist()
    rows = rows_of(lengths)
    single, batches = choose(rows, 32)
    assert len(set(single)) == SINGLE and [len(batch) for batch in batches] == [32] * BATCHES
    for percent in (10, 50, 90):
        chosen, every = (
            np.percentile(rows.lengths[single], percent),
            np.percentile(lengths, percent),
        )
        assert abs(chosen - every) <= 2
    ordered = np.argsort(lengths, kind="stable")
    places = [int(np.flatnonzero(ordered == batch[0])[0]) for batch in batches]
    assert all(place % 32 == 0 for place in places) and places == sorted(places)
    assert batches[1] == ordered[places[1] : places[1] + 32].tolist()


@pytest.fixture
def task(encoder: Path, rows_file: Path) -> Task:
    made: Task = build(compose(*tiny(encoder, rows_file), "task.max_length=200").task)
    return made


def test_models_with_other_tokenisers_read_the_same_texts(
    task: Task, encoder: Path, tmp_path: Path
) -> None:
    texts = TaskTexts(task, Store(tmp_path / "store"))
    own = load_tokenizer(str(encoder), "encoder")
    letters = train_tokenizer(texts.splits.train, 60, 64)
    first, second = (texts.read_by(CONFIG, each, 8) for each in (own, letters))
    assert texts.name == "reviews: evaluation"
    assert first.rows["fingerprint"] == second.rows["fingerprint"]
    assert second.rows["median_length"] > first.rows["median_length"]

    def read(tokenizer: Any, inputs: Any) -> list[str]:
        return [
            text.replace(" ", "")
            for each in inputs
            for text in tokenizer.batch_decode(each["input_ids"], skip_special_tokens=True)
        ]

    assert read(own, first.single) == read(letters, second.single)
    assert read(own, first.batches) == read(letters, second.batches)
    assert len({*read(own, first.single)}) > SINGLE / 2


def test_a_batch_of_another_size_is_another_set_of_rows(
    task: Task, encoder: Path, tmp_path: Path
) -> None:
    own = load_tokenizer(str(encoder), "encoder")
    prints = {
        TaskTexts(task, Store(tmp_path)).read_by(CONFIG, own, size).rows["fingerprint"]
        for size in (8, 16, 8)
    }
    assert len(prints) == 2


def test_a_model_without_a_tokeniser_reads_no_text(task: Task, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokeniser, and reviews: evaluation is text; take"):
        TaskTexts(task, Store(tmp_path)).read_by(CONFIG, None, 8)


def test_fixed_lengths_are_read_without_padding_and_without_special_tokens() -> None:
    texts = FixedTexts([32, 8, 16])
    passes = texts.read_by(CONFIG, None, 4)
    assert texts.name == passes.rows["name"] == "lengths 8,16,32"
    assert [each["input_ids"].shape for each in passes.batches] == [(4, 8), (4, 16), (4, 32)]
    assert {each["input_ids"].shape[1] for each in passes.single} == {8, 16, 32}
    assert (passes.longest, passes.rows["median_length"], passes.batch_size) == (32, 16, 4)
    words = np.concatenate([each["input_ids"].ravel() for each in passes.single])
    assert words.min() >= 1 and words.max() < 50  # 0 is padding
    assert all(each["attention_mask"].all() for each in passes.single)
    again = FixedTexts([8, 16, 32]).read_by(CONFIG, None, 4)
    assert all(
        np.array_equal(a["input_ids"], b["input_ids"])
        for a, b in zip(passes.single, again.single, strict=True)
    )


def test_what_reads_no_text_has_no_fixed_lengths() -> None:
    class Pictures:
        image_size = 28

    with pytest.raises(DataError, match="reads no text; name a run with such rows by --rows"):
        FixedTexts([8]).read_by(Pictures(), None, 4)  # type: ignore[arg-type]


def test_what_is_read_survives_the_way_to_the_process(tmp_path: Path) -> None:
    passes = FixedTexts([4, 12]).read_by(CONFIG, None, 3)
    passes.save(tmp_path / "passes")
    single, batches = load_passes(tmp_path / "passes")
    for found, given in ((single, passes.single), (batches, passes.batches)):
        assert len(found) == len(given)
        for a, b in zip(found, given, strict=True):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[name], b[name]) for name in a)
