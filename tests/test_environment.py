"""What surrounds a run goes wrong: permissions, the clock, other runs, a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_lab.folders import entry_folders
from distill_lab.progress_files import ProgressFiles
from distill_lab.results import Result
from distill_lab.store import Store, damage
from tests.conftest import tiny
from tests.unanswering import unanswering

Go = Callable[..., Result]
SLOW_MACHINE = 600  # seconds after which a process hangs
DROPPED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def line(model: Path, rows: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "distill_lab", "train", *tiny(model, rows), *more]


def start(
    line: list[str], folder: Path, **variables: str
) -> subprocess.Popen[str]:  # many at once, so each with one thread
    return subprocess.Popen(
        line, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **variables}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=SLOW_MACHINE)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it hangs: {process.communicate()}")
    return process.returncode, out + err


def whole(store: Path) -> bool:
    assert not list(store.rglob("*.tmp")) and not list(store.rglob("*.unfinished"))
    entries = entry_folders(store)
    assert entries and not [damage(entry) for entry in entries if damage(entry)]
    return True


def bound(folder: Path) -> list[str]:
    """What has to stand before a line so that permissions hold for it, as they do not for root."""
    if os.geteuid() != 0:
        return []
    probe = [*DROPPED, sys.executable, "-c", f"open({str(folder / 'probe')!r}, 'w')"]
    try:
        answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"root cannot be bound by permissions here: {error}")
    if "Permission denied" not in answer.stderr:
        pytest.skip(f"root cannot be bound by permissions here: {answer.stderr.strip()[-200:]}")
    return DROPPED


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "store", "rows", "model"])
def test_what_may_not_be_read_or_written_is_told(
    what: str, finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    rows, model = closed / "rows.csv", closed / "model"
    rows.write_bytes(rows_file.read_bytes())
    model.mkdir()
    for file in finetuned.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    more = {
        "run": ["hydra.run.dir=closed/run"],
        "store": ["store_dir=closed/store"],
        "rows": [f"task.train_file={rows}"],
        "model": [f"teacher.model={model}"],
    }[what]
    if what in ("run", "store"):
        closed.chmod(0o555)
        prefix = bound(closed)
    else:
        closed.chmod(0o555)
        prefix = bound(closed)
        secret = rows if what == "rows" else model / "model.safetensors"
        secret.chmod(0)
    try:
        code, said = ended(start([*prefix, *line(finetuned, rows_file, *more)], tmp_path))
    finally:
        closed.chmod(0o755)
    assert code == 2 and "Traceback" not in said, said
    (told,) = (text for text in said.splitlines() if text.startswith("distill-lab: "))
    assert "ermission denied" in told and "closed" in told
    assert not list(tmp_path.rglob("result.json"))


def test_a_clock_that_is_set_back_changes_nothing(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries and files of the future, and a clock that runs backwards meanwhile."""
    first = lab(out="first")
    for path in tmp_path.rglob("*"):
        os.utime(path, (4e9, 4e9))  # in the year 2096
    true, asked = time.time, []

    def backwards() -> float:
        asked.append(1)
        return true() - 1e6 - 60 * len(asked)

    monkeypatch.setattr(time, "time", backwards)
    found = lab(out="second")
    assert found.metrics == first.metrics and found.fingerprints == first.fingerprints
    other = lab("seed=2", out="third")
    for cost in (first.cost, found.cost, other.cost):
        assert all((each.get("seconds") or 0) >= 0 for each in cost.values())
    assert whole(tmp_path / "store")


def test_the_newest_checkpoint_is_so_by_its_step(tmp_path: Path) -> None:
    files = ProgressFiles(tmp_path, "key")
    import torch

    for step in (1, 2):
        files.write(step, lambda path, s=step: torch.save({"step": s}, path))
        for file in tmp_path.glob(f"step-{step:09d}.*"):
            os.utime(file, (4e9 - step, 4e9 - step))
    found = files.load()
    assert found is not None and found[1] == {"step": 2}


def test_an_entry_of_the_future_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path, _ = store.get("things", 1, lambda folder: (folder / "a").write_text("a") and None)
    for file in [path, *path.iterdir()]:
        os.utime(file, (4e9, 4e9))
    assert store.get("things", 1, lambda _: pytest.fail("made again")) == (path, True)


@pytest.mark.slow
def test_two_of_the_same_in_one_folder(encoder: Path, rows_file: Path, tmp_path: Path) -> None:
    """One works, the other one says so and leaves, and its line works afterwards."""
    own = line(encoder, rows_file, "hydra.run.dir=mine")
    answers = [ended(process) for process in [start(own, tmp_path), start(own, tmp_path)]]
    codes = sorted(code for code, _ in answers)
    assert codes in ([0, 75], [0, 0]), answers  # the latter where one was done before
    if codes == [0, 75]:
        (said,) = (said for code, said in answers if code == 75)
        assert "mine: another process works in this folder" in said
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["status"] == "finished"
    assert whole(tmp_path / "store")


@pytest.mark.slow
def test_two_of_the_same_line_at_once(encoder: Path, rows_file: Path, tmp_path: Path) -> None:
    """Without a folder, each has its own, and both come to the same."""
    own = line(encoder, rows_file, "trainer.max_steps=5")
    answers = [ended(process) for process in [start(own, tmp_path), start(own, tmp_path)]]
    assert [code for code, _ in answers] == [0, 0], answers
    results = [Result.read(path) for path in tmp_path.rglob("result.json")]
    assert 1 <= len(results) <= 2
    assert len({json.dumps([r.metrics, r.fingerprints], sort_keys=True) for r in results}) == 1
    assert whole(tmp_path / "store")


@pytest.mark.slow
def test_sixteen_at_once_on_one_store(encoder: Path, rows_file: Path, tmp_path: Path) -> None:
    """Teacher and signals are made once; every run comes to what it comes to alone."""
    processes = [
        start(line(encoder, rows_file, "trainer.max_steps=5", "teacher.epochs=1", f"seed={seed}",
                   "teacher.min_over_chance=-1", f"hydra.run.dir=run-{number}"), tmp_path)
        for number, seed in enumerate([1, 2, 3, 4] * 4)
    ]  # fmt: skip
    answers = [ended(process) for process in processes]
    assert [code for code, _ in answers] == [0] * 16, [said for code, said in answers if code]
    results = [Result.read(tmp_path / f"run-{number}" / "result.json") for number in range(16)]
    assert len({result.fingerprints["teacher"] for result in results}) == 1
    for seed in range(4):
        same = [json.dumps([r.metrics, r.fingerprints], sort_keys=True) for r in results[seed::4]]
        assert len(set(same)) == 1
    kinds = {kind.name: len(entry_folders(kind.parent)) for kind in tmp_path.glob("store/*")}
    assert len(list((tmp_path / "store" / "teachers").glob("[0-9a-f]*"))) == 1, kinds
    assert len(list((tmp_path / "store" / "baselines").glob("[0-9a-f]*"))) == 4
    assert sum("teacher: fine-tuning" in said for _, said in answers) == 1
    assert whole(tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("begins", [True, False])
def test_a_server_that_stops_to_answer(
    begins: bool, finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    """In the middle of a run nothing is lost; before it, nothing is trained."""
    with unanswering(begins) as server:
        given = {
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": "0123456789" * 4,
            "WANDB_MODE": "online",
            "WANDB_FINISH_TIMEOUT": "5",
            "WANDB_INIT_TIMEOUT": "10",
        }
        own = line(finetuned, rows_file, "logger=wandb", "hydra.run.dir=run", "baseline=false")
        code, said = ended(start(own, tmp_path, **given))
        assert server.unheard > 0
    assert "Traceback" not in said, said
    if begins:
        assert code == 0, said
        assert "W&B: the comparison or the student could not be logged" in said
        assert Result.read(tmp_path / "run" / "result.json").metrics["student"]
        assert (tmp_path / "run" / "predictions.parquet").is_file()
        assert list((tmp_path / "run").rglob("*.wandb"))  # for `wandb sync`
    else:
        assert code == 2 and "logger.wandb: W&B cannot start" in said, said
        assert not (tmp_path / "run" / "result.json").exists()


def test_what_wandb_may_take_at_the_end_is_bounded(
    lab: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_FINISH_TIMEOUT", raising=False)
    lab("baseline=false")
    import wandb

    assert wandb.Settings.model_fields["finish_timeout"].default == 0.0  # without end
    settings = wandb.Settings()
    settings.update_from_env_vars(dict(os.environ))
    assert 0 < settings.finish_timeout <= 600
