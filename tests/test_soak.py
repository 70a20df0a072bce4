"""A long sweep takes no more of the machine at its end than at its beginning."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from distill_lab.launch.folder_lock import busy
from tests.conftest import tiny

JOBS = int(os.environ.get("SOAK", "40"))
EARLY = 10  # jobs, after which all that is loaded once is loaded
MOST = 20 * 2**20


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
def test_a_long_sweep_leaves_nothing_behind(
    finetuned: Path, rows_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert JOBS > 2 * EARLY
    seeds = f"seed=range(0,{JOBS})"
    line = [
        *tiny(finetuned, rows_file), "study=soak", seeds, "baseline=false",
        "optim.batch_size=64", "hydra.launcher.n_jobs=2",
    ]  # fmt: skip
    with (tmp_path / "told").open("w") as told:
        parent = subprocess.Popen(
            [sys.executable, "-m", "distill_lab", "train", "-m", *line],
            cwd=tmp_path, stdout=told, stderr=told, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    process = psutil.Process(parent.pid)
    early, late, store = 0, 0, set[str]()
    since = time.monotonic()
    while parent.poll() is None:
        done = len(list(tmp_path.glob("runs/soak/*/result.json")))
        try:
            resident = process.memory_info().rss
        except psutil.NoSuchProcess:
            break
        if done <= EARLY:
            early = max(early, resident)
        if done == EARLY and not store:
            store = files(tmp_path / "store")
        if done >= JOBS - EARLY:
            late = max(late, resident)
        time.sleep(0.2)
    seconds = time.monotonic() - since
    assert parent.wait() == 0, (tmp_path / "told").read_text()[-2000:]
    with capsys.disabled():
        grown = (late - early) / 2**20
        print(f"\n{JOBS} jobs in {seconds:.0f} s, the parent's memory {grown:+.1f} MiB")
    assert 0 < late < early + MOST
    there = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    _, left = psutil.wait_procs(there, timeout=10)  # who forked the jobs ends after the parent
    assert not left, left
    assert store and files(tmp_path / "store") == store
    folders = sorted((tmp_path / "runs" / "soak").glob("*/"))
    assert len(folders) == JOBS
    assert len({frozenset(files(folder)) for folder in folders}) == 1, "not all left the same"
    assert not [name for name in files(folders[0]) if name.endswith(".tmp")]
    assert (folders[0] / ".lock").exists()  # which stays, and is held by nobody
    assert not [folder for folder in folders if busy(folder)]
