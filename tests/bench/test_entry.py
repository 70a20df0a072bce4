"""Entries of `result.json`: added, replaced, and nothing else touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_lab import disk
from distill_lab.bench.entry import Entry, merged, record
from distill_lab.errors import DataError, DiskError
from distill_lab.results import Result
from tests.bench.cases import entry


def test_a_new_entry_replaces_the_one_of_the_same_model_form_device_machine_and_rows() -> None:
    old = [entry(date="2026-01-01").plain(), entry(form="compiled").plain()]
    found = merged(old, [entry(date="2026-02-02")])
    assert [(one["form"], one["date"]) for one in found] == [
        ("compiled", "2026-01-02"),
        ("eager", "2026-02-02"),
    ]


OTHER: dict[str, dict[str, Any]] = {
    "model": {"model": "teacher"},
    "form": {"form": "onnx"},
    "device": {"device": "cuda"},
    "processor": {"machine": {"name": "another", "threads": 2}},
    "threads": {"machine": {"name": "a processor", "threads": 1}},
    "rows": {"rows": {"name": "mrpc", "fingerprint": "f" * 16}},
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_an_entry_of_anything_else_stays(change: dict[str, Any]) -> None:
    assert len(merged([entry().plain()], [replace(entry(), **change)])) == 2


def test_the_result_keeps_all_else(lab: Any, tmp_path: Path) -> None:
    lab("baseline=false")
    file = tmp_path / "run" / "result.json"
    before = Result.read(file)
    content = json.loads(file.read_text())
    content["of a later version"] = {"kept": [1, 2.5, None]}
    file.write_text(json.dumps(content, indent=2) + "\n")
    record(file.parent, [entry()])
    record(file.parent, [entry(form="onnx")])
    after = json.loads(file.read_text())
    assert [one["form"] for one in after.pop("bench")] == ["eager", "onnx"]
    content.pop("bench")
    assert after == content and list(after) == list(content)
    assert replace(Result.read(file), bench=[]) == before


def test_a_result_of_an_earlier_version_gets_its_first_entry(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"study": "old"}\n')
    record(tmp_path, [entry()])
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["study"] == "old" and content["bench"] == [entry().plain()]


@pytest.mark.parametrize("text", ["{", "[]", '{"bench": 3}', '{"bench": [3]}'])
def test_what_is_no_result_is_said_and_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(text)
    with pytest.raises(DataError, match="not a result of distill-lab"):
        record(tmp_path, [entry()])
    assert file.read_text() == text


def test_a_full_disk_leaves_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "result.json"
    file.write_text("{}")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr("distill_lab.bench.entry.write_atomically", full)
    with pytest.raises(DiskError, match="the disk is full") as told:
        record(tmp_path, [entry()])
    assert file.read_text() == "{}" and "another folder" not in str(told.value)


def test_a_disk_without_another_folder_names_none() -> None:
    error = OSError(28, "No space left on device", "/a/b")
    assert "another folder" in str(disk.refusal(error, Path("/a"), "store_dir"))
    assert "another folder" not in str(disk.refusal(error, Path("/a"), ""))


def test_an_entry_is_plain_data() -> None:
    assert json.loads(json.dumps(entry().plain())) == entry().plain()
    assert isinstance(entry(), Entry)
