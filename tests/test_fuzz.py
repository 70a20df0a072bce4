"""Readers of what others may have written or damaged: a sentence, or what was there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from distill_lab.errors import DataError, UsageError
from distill_lab.results import Result
from distill_lab.results.predictions import read_predictions
from distill_lab.results.runs import collect
from distill_lab.store import Store, damage
from distill_lab.tasks.columns import Columns, to_rows
from distill_lab.tasks.corpus import Corpus
from distill_lab.tasks.files import read_glue_tsv, read_table
from distill_lab.tasks.pictures import read_idx
from distill_lab.tasks.questions import read_squad
from distill_lab.types import Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=6,
)  # fmt: skip
FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
PROBLEM = Problem("classification", ("a", "b"))
ROW = st.dictionaries(st.sampled_from(["text", "label", "x"]), JSON | st.sampled_from(["a", "b"]))


def path_in(value: Any, draw: st.DataObject) -> tuple[Any, Any]:
    """A place of nested data that is drawn: what holds it, and its key there."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw.draw(st.sampled_from(keys))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or draw.draw(st.booleans()):
            return value, key
        value = inner


def spoil(content: bytes, draw: st.DataObject) -> bytes:
    """Some bytes changed, lost or added."""
    found = bytearray(content)
    for _ in range(draw.draw(st.integers(1, 6))):
        at = draw.draw(st.integers(0, max(len(found) - 1, 0)))
        found[at : at + draw.draw(st.integers(0, 20))] = draw.draw(st.binary(max_size=20))
    return bytes(found)


def read_rows(path: Path) -> None:
    rows = to_rows(read_table(path), path, Columns("text", "label"), PROBLEM)
    assert all(text.strip() for text in rows.text) and set(rows.labels) <= {0, 1}


READERS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "rows.csv": (b'text,label\n"good, film",a\nbad film,b\n', read_rows),
    "rows.tsv": (b"text\tlabel\ngood\ta\nbad\tb\n", read_rows),
    "rows.jsonl": (b'{"text": "good", "label": "a"}\n{"text": "bad", "label": "b"}\n', read_rows),
    "glue.tsv": (b"text\tlabel\ngood\ta\nbad\tb\n", read_glue_tsv),
    "labels": (b"\0\0\x08\x01\0\0\0\x03abc", lambda path: read_idx(path, 1)),
    "text.jsonl": (
        b'{"text": "good"}\n{"text": "bad"}\n',
        lambda path: list(Corpus((path,), "text").pieces()),
    ),
    "squad.json": (
        b'{"data": [{"title": "t", "paragraphs": [{"context": "c d", "qas": [{"id": "1", "question"'
        b': "q", "answers": [{"text": "d", "answer_start": 2}]}]}]}]}',
        lambda path: list(read_squad(path)),
    ),
}


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(draw=st.data())
def test_data_that_are_spoilt(name: str, tmp_path: Path, draw: st.DataObject) -> None:
    content, read = READERS[name]
    path = tmp_path / name
    path.write_bytes(spoil(content, draw))
    try:
        read(path)
    except UsageError as error:
        told = str(error).split("\n")  # a sentence for each column that is missing
        assert all(name in each for each in told) and (
            len(told) == 1 or "no such column" in told[0]
        )


@FUZZ
@given(rows=st.lists(ROW, max_size=4))
def test_rows_of_anything(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        read_rows(path)
    except UsageError as error:
        assert "rows.jsonl" in str(error)


@FUZZ
@given(draw=st.data(), value=JSON)
def test_squad_of_anything(draw: st.DataObject, value: Any, tmp_path: Path) -> None:
    content = json.loads(READERS["squad.json"][0])
    holder, key = path_in(content, draw)
    holder[key] = value
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(content))
    try:
        list(read_squad(path))
    except UsageError as error:
        assert "squad.json" in str(error)


def whole(number: int) -> Result:
    metrics = {name: {"accuracy": 0.5 + number / 100} for name in ("teacher", "student")}
    return Result(
        study="s", choices={"student": "layers"}, overrides=[f"seed={number}"], seed=number,
        task="t", metric="accuracy", metrics=metrics,
        cost={name: {"parameters": 10, "seconds": 1.0} for name in metrics},
        rows={"train": 10, "evaluation": 5}, fingerprints={"evaluation": "e", "teacher": "t"},
        config={"seed": number, "objective": {"lam": 0.5}},
        problem={"kind": "classification", "labels": ["a", "b"]},
        versions={},
        git="",
    )  # fmt: skip


def shown(study: Path, capsys: pytest.CaptureFixture[str]) -> str:
    from distill_lab.verbs.compare import main

    assert main([str(study)]) == 0
    return capsys.readouterr().out


@FUZZ
@given(draw=st.data(), value=JSON)
def test_a_result_of_anything_is_left_out_or_compared(
    draw: st.DataObject, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    for number in (1, 2):
        (study / str(number)).mkdir(parents=True, exist_ok=True)
        whole(number).write(study / str(number))
    file = study / "2" / "result.json"
    content = json.loads(file.read_text())
    holder, key = path_in(content, draw)
    holder[key] = value
    file.write_text(json.dumps(content))
    try:
        Result.read(file)
    except DataError as error:
        assert str(file) in str(error)
        assert collect([study]).damaged == [str(error)]
    found = collect([study])
    assert any(result.seed == 1 for result in found.results)
    shown(study, capsys)


@FUZZ
@given(draw=st.data())
def test_a_result_of_other_bytes(draw: st.DataObject, tmp_path: Path) -> None:
    whole(1).write(tmp_path)
    file = tmp_path / "result.json"
    file.write_bytes(spoil(file.read_bytes(), draw))
    try:
        Result.read(file)
    except DataError as error:
        assert str(file) in str(error) and "\n" not in str(error)


@FUZZ
@given(draw=st.data())
def test_predictions_of_other_bytes(draw: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    logits = [[0.1, 0.9]] * 8
    pd.DataFrame(
        {"split": "evaluation", "id": range(8), "label": 1, "student": 1, "student_logits": logits}
    ).to_parquet(path)
    path.write_bytes(spoil(path.read_bytes(), draw))
    try:
        found = read_predictions(tmp_path)
        for name in found.names:
            found.columns([name])
        found.logits("student")
    except DataError as error:
        assert str(path) in str(error)


def weights(folder: Path) -> None:
    save_file({"a": np.arange(20.0)}, folder / "a.safetensors")
    (folder / "b.json").write_text("{}")


@FUZZ
@given(draw=st.data())
def test_an_entry_of_other_bytes_is_made_again(draw: st.DataObject, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = Store(tmp_path / "store")
    path, _ = store.get("things", {"x": 1}, weights)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    file = draw.draw(st.sampled_from(sorted(path.iterdir())))
    file.write_bytes(spoil(before[file.name], draw))
    changed = file.read_bytes() != before[file.name]
    assert (damage(path) != "") == changed or file.name == "entry.json"
    assert damage(path) == "" or file.name in damage(path)
    path, found = store.get("things", {"x": 1}, weights)
    assert found or changed  # and what is the same need not be made again
    after = {file.name: file.read_bytes() for file in path.iterdir()}
    assert after["a.safetensors"] == before["a.safetensors"] and damage(path) == ""


@FUZZ
@given(draw=st.data(), value=JSON)
def test_an_entry_of_anything(draw: st.DataObject, value: Any, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = Store(tmp_path / "store")
    path, _ = store.get("things", {"x": [1, {"y": 2}]}, weights)
    content = json.loads((path / "entry.json").read_text())
    holder, key = path_in(content, draw)
    holder[key] = value
    (path / "entry.json").write_text(json.dumps(content))
    fault = damage(path)
    assert fault == "" or "entry.json" in fault or "has changed" in fault or "missing" in fault \
        or "added" in fault  # fmt: skip
    assert damage(store.get("things", {"x": [1, {"y": 2}]}, weights)[0]) == ""
