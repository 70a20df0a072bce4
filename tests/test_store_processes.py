"""Several processes at one store, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill_lab.folders import locked
from distill_lab.store import Store
from tests.waiting import until

# Fresh processes; this module must not import torch, which each of them would wait for.
SPAWN = multiprocessing.get_context("spawn")
CONTENT = "content " * 5000


def write_one(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "content.txt").write_text(CONTENT)


def ask(root: str, made: str, seconds: float, ready: Any, answer: Any) -> None:
    """Ask for one entry together with the others; say what was found in it."""

    def make(folder: Path) -> None:
        with open(made, "a") as file:
            file.write(f"{os.getpid()}\n")
        (folder / "half").write_text("half")
        time.sleep(seconds)
        (folder / "half").unlink()
        write_one(folder)

    ready.wait()
    path, found = Store(root).get("things", 1, make)
    answer.put((os.getpid(), found, (path / "a" / "content.txt").read_text() == CONTENT))


@contextmanager
def eight(root: Path, made: Path, seconds: float) -> Iterator[tuple[list[Any], Any]]:
    ready, answer = SPAWN.Barrier(8), SPAWN.Queue()
    given = (str(root), str(made), seconds, ready, answer)
    workers = [SPAWN.Process(target=ask, args=given) for _ in range(8)]
    for worker in workers:
        worker.start()
    try:
        yield workers, answer
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def test_eight_at_once_make_an_entry_once_and_read_it_whole(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with eight(tmp_path / "store", made, 0.5) as (workers, answer):
        said = [answer.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0] * 8
    (maker,) = made.read_text().split()
    assert sorted(found for _, found, _ in said) == [False] + [True] * 7
    assert all(whole for _, _, whole in said)
    assert [pid for pid, found, _ in said if not found] == [int(maker)]


def test_when_the_maker_is_killed_another_takes_over(tmp_path: Path) -> None:
    made, store = tmp_path / "made", tmp_path / "store"
    with eight(store, made, 1.0) as (workers, answer):
        until(lambda: made.exists() and bool(list(store.rglob("half"))), 60)
        killed = int(made.read_text())
        os.kill(killed, signal.SIGKILL)
        said = [answer.get(timeout=60) for _ in range(7)]
        for worker in workers:
            worker.join(60)
        codes = {worker.pid: worker.exitcode for worker in workers}
    makers = [int(pid) for pid in made.read_text().split()]
    assert makers[0] == killed and len(makers) == 2
    assert codes.pop(killed) == -signal.SIGKILL and set(codes.values()) == {0}
    assert sorted(found for _, found, _ in said) == [False] + [True] * 6
    assert all(whole for _, _, whole in said)
    assert not list(store.rglob("half")) and not list(store.rglob("*.tmp"))


def test_a_lock_file_of_a_dead_process_locks_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.path("things", 1)
    path.parent.mkdir()
    path.with_name(f".{path.name}.lock").write_text("99999999\n")
    assert store.get("things", 1, write_one) == (path, False)


def test_an_entry_is_read_while_another_process_has_its_lock(tmp_path: Path) -> None:
    """Jobs that find the same entry do not wait for each other's checks."""
    store = Store(tmp_path)
    path, _ = store.get("things", 1, write_one)
    with locked(path):
        again = store.get("things", 1, lambda _: pytest.fail("made again"))
    assert again == (path, True)


def test_what_another_process_is_making_is_not_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.get("things", 0, write_one)
    paths = [store.path("things", number) for number in (1, 2)]
    lefts = [path.with_name(f".{path.name}.0123abcd.tmp") for path in paths]
    for left in lefts:
        left.mkdir()
    with locked(paths[0]):  # as long as it is being made
        store.get("things", 3, write_one)
    assert [left.exists() for left in lefts] == [True, False]
