"""The store: complete and undamaged, or absent."""

from __future__ import annotations

import logging
import multiprocessing
import time
from pathlib import Path

import pytest

from distill_lab.store import Store, digest, write_atomically


def write_one(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "content.txt").write_text("content")


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path, found = store.get("things", {"x": 1}, write_one)
    assert not found and (path / "a" / "content.txt").read_text() == "content"
    again, found = store.get("things", {"x": 1}, lambda _: pytest.fail("made again"))
    assert found and again == path
    other, found = store.get("things", {"x": 2}, write_one)
    assert not found and other != path


def test_a_failed_entry_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_one(folder)
        raise RuntimeError("half way")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError):
        store.get("things", 1, fail)
    assert store.find("things", 1) is None
    assert [p.name for p in (tmp_path / "things").iterdir() if not p.name.endswith(".lock")] == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "unseal", "garble"])
def test_damage_is_said_and_mended(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    path, _ = store.get("things", 1, write_one)
    content = path / "a" / "content.txt"
    if damage == "flip":
        content.write_text("conteNt")
    elif damage == "truncate":
        content.write_text("con")
    elif damage == "remove":
        content.unlink()
    elif damage == "unseal":
        (path / "entry.json").unlink()
    else:
        (path / "entry.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert store.find("things", 1) is None
    assert "is damaged" in caplog.text
    path, found = store.get("things", 1, write_one)
    assert not found and (path / "a" / "content.txt").read_text() == "content"
    assert store.find("things", 1) == path


def _slow(root: str, made: str) -> None:
    def make(folder: Path) -> None:
        with open(made, "a") as file:
            file.write("x")
        time.sleep(0.3)
        write_one(folder)

    Store(root).get("things", 1, make)


def test_several_processes_make_one_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    made = tmp_path / "made"
    workers = [
        context.Process(target=_slow, args=(str(tmp_path / "store"), str(made))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert made.read_text() == "x"


def test_digest_depends_on_content_not_order() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})


def test_atomic_writes_replace_or_leave(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
