"""`distill-lab store`: list, verify, delete."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distill_lab.cli import main
from distill_lab.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with three entries."""
    found = Store(tmp_path / "store")
    for kind, text in (("teachers", "a"), ("signals", "b"), ("signals", "c")):
        found.get(kind, text, lambda folder, text=text: _write(folder, text), f"about {text}")
    return found


def _write(folder: Path, text: str) -> None:
    (folder / "content.txt").write_text(text * 1500)


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["distill-lab", "store", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out + said.err


def test_ls(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = typed(monkeypatch, capsys, "ls", f"--store-dir={store.root}")
    assert code == 0
    for kind, text in (("teachers", "a"), ("signals", "b"), ("signals", "c")):
        (line,) = (line for line in said.splitlines() if f"about {text}" in line)
        assert f"{kind}/{store.path(kind, text).name}" in line
        assert "2 kB" in line and "just now" in line
    assert "3 entries" in said


def test_verify(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("verify", f"--store-dir={store.root}")
    assert typed(monkeypatch, capsys, *words) == (0, "3 entries, 0 damaged\n")
    (store.path("signals", "b") / "content.txt").write_text("other")
    code, said = typed(monkeypatch, capsys, *words)
    assert code == 1
    name = store.path("signals", "b").name
    assert f"signals/{name}: content.txt has changed" in said and "3 entries, 1 damaged" in said


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_an_unreadable_entry_is_shown_told_and_made_again(
    content: str, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.path("signals", "b") / "entry.json").write_text(content)
    where = f"--store-dir={store.root}"
    assert typed(monkeypatch, capsys, "ls", where)[0] == 0
    code, said = typed(monkeypatch, capsys, "verify", where)
    assert code == 1 and "entry.json is missing or unreadable" in said
    assert not store.get("signals", "b", lambda folder: _write(folder, "b"))[1]
    assert typed(monkeypatch, capsys, "verify", where)[0] == 0


@pytest.mark.parametrize("how", ["entry", "beginning", "kind"])
def test_rm(
    how: str, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = store.path("signals", "b").name
    word = {"entry": f"signals/{name}", "beginning": name[:9], "kind": "signals"}[how]
    code, said = typed(monkeypatch, capsys, "rm", word, f"--store-dir={store.root}")
    assert code == 0 and f"deleted signals/{name}: about b" in said
    assert store.find("signals", "b") is None and store.find("teachers", "a") is not None
    assert (store.find("signals", "c") is None) == (how == "kind")


def test_a_name_that_is_not_there_deletes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = typed(monkeypatch, capsys, "rm", "teachers", "signal", f"--store-dir={store.root}")
    assert code == 2 and "signal: no entry of the store" in said and "'signals'" in said
    assert store.find("teachers", "a") is not None
    code, said = typed(monkeypatch, capsys, "ls", "--store-dir=nowhere")
    assert code == 2 and "--store-dir=nowhere: there is no such folder" in said


def test_what_a_killed_process_left_is_swept(store: Store) -> None:
    path = store.path("signals", "d")
    left = path.with_name(f".{path.name}.0123abcd.tmp")
    left.mkdir()
    (left / "half").write_text("x")
    store.get("signals", "d", lambda folder: _write(folder, "d"))
    assert not left.exists()
