"""A disk that is full or closed to writing: one sentence, nothing half-written."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill_lab.disk import free_bytes, in_bytes, saving
from distill_lab.errors import DiskError
from distill_lab.folders import entry_folders
from distill_lab.results import Result
from distill_lab.store import Store, damage
from tests.conftest import tiny

Go = Callable[..., Result]
SMALL = 2048  # bytes, less than any weights


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, a real one; skipped where mounting is not allowed."""
    folder.mkdir(exist_ok=True)
    line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        answer = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if answer.returncode:
        pytest.skip(f"mounting a small disk is not allowed here: {answer.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def weights(folder: Path) -> None:
    save_file({"a": torch.zeros(100_000)}, folder / "a.safetensors")


def small(folder: Path) -> None:
    (folder / "a.txt").write_text("small")


def text(folder: Path) -> None:
    (folder / "a.txt").write_text("x" * 400_000)


def whole(store: Path) -> list[str]:
    """What a store holds, all of it undamaged; locks are left out."""
    names = [
        path.relative_to(store).as_posix()
        for path in sorted(store.rglob("*"))
        if not path.name.endswith(".lock")
    ]
    assert not [name for name in names if name.endswith(".tmp") or ".tmp/" in name]
    for entry in store.glob("*/*/entry.json"):
        assert damage(entry.parent) == ""
    return names


@pytest.mark.parametrize("make", [weights, text])
def test_a_full_disk_leaves_the_store_as_it_was(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=300k") as disk:
        store = Store(disk / "store")
        store.get("things", 1, small)
        before = whole(store.root)
        with pytest.raises(DiskError, match=r"disk/store: the disk is full \(\d+ kB") as e:
            store.get("things", 2, make)
        assert re.search(r"free some space, or name another folder with store_dir=$", str(e.value))
        assert whole(store.root) == before
        assert store.find("things", 1) is not None and store.find("things", 2) is None
        # The same, with room: nothing of the failure is in the way.
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert store.get("things", 2, make)[1] is False


def test_what_cannot_fit_is_refused_before_it_is_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "store")
    much = 10 * free_bytes(store.root)
    with pytest.raises(DiskError, match=rf"full \({re.escape(in_bytes(much))} are needed, "):
        store.get("things", 1, lambda _: pytest.fail("made all the same"), size=much)
    assert whole(store.root) == ["things"]


@pytest.mark.parametrize("where", ["store", "run"])
def test_a_folder_that_may_only_be_read_is_told_before_any_training(
    where: str, lab: Go, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        line = [f"store_dir={disk}/store"] if where == "store" else []
        key = "store_dir" if where == "store" else "hydra.run.dir"
        told = f"Read-only file system: .*; let it be written to, or name another folder with {key}"
        with pytest.raises(DiskError, match=told):
            lab(*line, out="disk/run" if where == "run" else "run")
        assert not list(tmp_path.rglob("result.json"))


def test_entries_of_a_store_that_may_only_be_read_are_used(lab: Go, tmp_path: Path) -> None:
    first = lab(out="first")
    with mounted(tmp_path / "disk", "size=20m") as disk:
        subprocess.run(["cp", "-r", str(tmp_path / "store"), str(disk / "store")], check=True)
        for lock in disk.glob("store/*/.*.lock"):
            lock.unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        second = lab(f"store_dir={disk}/store", out="second")
    assert second.metrics == first.metrics and second.fingerprints == first.fingerprints


@pytest.mark.parametrize("where", ["store", "run"])
def test_a_file_where_a_folder_should_be_is_told(where: str, lab: Go, tmp_path: Path) -> None:
    (tmp_path / where).write_text("")
    with pytest.raises(DiskError, match=rf"{tmp_path}/{where}.*: cannot be written, "):
        lab()


def test_a_name_that_is_too_long_is_told_by_its_beginning(tmp_path: Path) -> None:
    store = Store(tmp_path / ("long" * 1000))
    told = r"(long)+[long]*…: the name is too long for a file, or name"
    with pytest.raises(DiskError, match=told) as e:
        store.get("things", 1, small)
    assert len(str(e.value)) < 400


def limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))


PARTS = {
    "text": "(folder / 'a.txt').write_text('x' * 400_000)",
    "weights": "save_file({'a': np.zeros(50_000)}, folder / 'a.safetensors')",
}
WRITE = """
import numpy as np
from safetensors.numpy import save_file
from distill_lab.store import Store
def make(folder):
    PART
Store("s").get("things", 1, make)
"""


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_file_that_may_not_get_as_large(part: str, tmp_path: Path) -> None:
    """What a full disk does, everywhere: the system refuses the write itself."""
    answer = subprocess.run(
        [sys.executable, "-c", WRITE.replace("PART", PARTS[part])], cwd=tmp_path,
        capture_output=True, text=True, preexec_fn=limited, check=False,
    )  # fmt: skip
    last = answer.stderr.strip().splitlines()[-1]
    assert "DiskError: s: " in last and "File too large; raise the limit of" in last
    assert whole(tmp_path / "s") == ["things"]


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    for error in (RuntimeError("a bug"), OSError(errno.EACCES, "no", "/elsewhere/rows.csv")):
        with pytest.raises(type(error)) as raised, saving(tmp_path, "store_dir"):
            raise error
        assert raised.value is error
    told = r"^/elsewhere: the disk is full .*; free some space$"
    with pytest.raises(DiskError, match=told), saving(tmp_path, "store_dir"):
        raise ValueError from OSError(errno.ENOSPC, "no", "/elsewhere/temporary")


def train(folder: Path, *line: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line],
        cwd=folder, capture_output=True, text=True, check=False, **more,  # type: ignore[call-overload]
    )  # fmt: skip


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a run ended with."""
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr and "Logging error" not in answer.stderr
    (said,) = (line for line in answer.stderr.splitlines() if line.startswith("distill-lab: "))
    return said


@pytest.mark.slow
def test_the_command_line_tells_of_a_full_disk(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "hydra.run.dir=disk/run"]
    # Too small for Hydra's own files; for the log and `error.txt` beside them; for a checkpoint.
    for size in ("4k", "20k", "64k"):
        with mounted(tmp_path / "disk", f"size={size}") as disk:
            said = refused(train(tmp_path, *line))
            assert "the disk is full" in said and "another folder with hydra.run.dir=" in said
            assert not list(disk.rglob("result.json"))


WRITERS = {"fit", "save_student", "write_predictions", "write", "_make"}


def who(error: BaseException) -> set[str]:
    """The functions that an error and its causes came through."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {frame.f_code.co_name for frame, _ in frames}
    return names | (who(error.__cause__) if error.__cause__ else set())


@pytest.mark.slow
def test_wherever_the_disk_gets_full_a_run_says_so_and_looks_unfinished(
    lab: Go, tmp_path: Path
) -> None:
    """Disks from one that holds nothing to one that holds all: every write of a run fails once."""
    expected, failed = lab(out="whole"), set[str]()
    kept = whole(tmp_path / "store")

    def fits(size: int, *line: str) -> bool:
        with mounted(tmp_path / "disk", f"size={size}k") as disk:
            try:
                result = lab(*line, out="disk/run")
            except DiskError as error:
                assert re.match(
                    r".*disk/(run|store): the disk is full \(.* are free now", str(error)
                )
                failed.update(who(error) & WRITERS)
                assert not (disk / "run" / "result.json").exists()
                assert not list(disk.rglob("*.tmp"))
                assert not [p for p in entry_folders(disk / "store") if damage(p)]
                return False
            assert result.metrics == expected.metrics
            return True

    for line in ([], ["store_dir=disk/store"]):
        enough = next(size for size in range(8, 4000, 40) if fits(size, *line))
        for size in range(enough - 4, enough - 40, -4):  # a page at a time, the last files
            fits(size, *line)
    assert failed == WRITERS
    assert whole(tmp_path / "store") == kept
