"""`distill-lab store`: list, verify, delete."""

from __future__ import annotations

import mmap
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill_lab import store_verbs
from distill_lab.cli import main
from distill_lab.store import Store
from distill_lab.store_verbs import entries


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
    (store.path("signals", "b") / "more.txt").write_text("more")
    (store.path("teachers", "a") / "entry.json").unlink()
    code, said = typed(monkeypatch, capsys, *words)
    assert code == 1
    name = store.path("signals", "b").name
    assert f"signals/{name}: content.txt has changed, more.txt was added; it is made" in said
    name = store.path("teachers", "a").name
    assert f"teachers/{name}: entry.json is missing or unreadable" in said
    assert "3 entries, 2 damaged" in said


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


def test_verify_and_ls_need_no_torch(store: Store) -> None:
    for verb in ("verify", "ls"):
        code = (
            f"import sys; sys.argv[1:] = ['store', '{verb}', '--store-dir={store.root}']\n"
            "from distill_lab.cli import main\n"
            "try: main()\nexcept SystemExit as stopped: assert not stopped.code\n"
            "assert not {'torch', 'transformers', 'pandas', 'hydra'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_is_being_made_or_was_left_is_no_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.path("signals", "b")
    path.rename(path.with_name(f".{path.name}.0123abcd.tmp"))  # killed just before its renaming
    (store.root / "signals" / "notes").mkdir()  # a person's own
    where = f"--store-dir={store.root}"
    for verb in ("ls", "verify"):
        assert "2 entries" in typed(monkeypatch, capsys, verb, where)[1]
    assert typed(monkeypatch, capsys, "rm", "signals", where)[0] == 0
    assert (store.root / "signals" / "notes").is_dir()


def test_rm_of_a_damaged_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.path("signals", "b")
    (path / "entry.json").unlink()
    code, said = typed(monkeypatch, capsys, "rm", path.name, f"--store-dir={store.root}")
    assert code == 0 and "entry.json is missing" in said and not path.exists()


def _make_slowly(root: str, begun: str) -> None:
    def make(folder: Path) -> None:
        Path(begun).touch()
        time.sleep(0.5)
        _write(folder, "b")

    Store(root).get("signals", "b", make)


def test_rm_waits_for_who_makes_the_entry(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, begun = store.path("signals", "b"), tmp_path / "begun"
    (path / "content.txt").write_text("damaged, so that it is made again")
    given = (str(store.root), str(begun))
    worker = multiprocessing.get_context("fork").Process(target=_make_slowly, args=given)
    worker.start()
    while not begun.exists():
        time.sleep(0.01)
    code, said = typed(monkeypatch, capsys, "rm", path.name, f"--store-dir={store.root}")
    worker.join()
    assert code == 0 and worker.exitcode == 0
    assert "waiting for another process" in said
    assert not path.exists() and not list(path.parent.glob("*.tmp"))


def test_who_has_an_entry_mapped_goes_on_reading_after_rm(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As signals are read: Unix keeps a file until nobody uses it any more."""
    path = store.path("signals", "b")
    with (path / "content.txt").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert typed(monkeypatch, capsys, "rm", path.name, f"--store-dir={store.root}")[0] == 0
    assert not path.exists() and mapped[:] == b"b" * 1500


def test_two_rm_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one was faster: that is no error."""
    every = entries(store.root)
    store_verbs.remove(store.root, ["signals"])
    monkeypatch.setattr(store_verbs, "entries", lambda _: every)
    store_verbs.remove(store.root, ["signals"])
    assert [one.path.parent.name for one in every if one.path.exists()] == ["teachers"]


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
