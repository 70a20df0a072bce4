"""A run that is ended goes on to the same bits."""

from __future__ import annotations

import csv
import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill_lab.callbacks import Resume
from distill_lab.hydra_entry import compose
from distill_lab.launch.going_on import going_on
from distill_lab.modules import Distillation, FineTuning
from distill_lab.progress_files import FOLDER, ProgressFiles
from distill_lab.random_states import random_states, restore
from distill_lab.results import Result
from distill_lab.run import run
from tests.conftest import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
# Dropout, accumulation, a schedule, and an objective with projections.
HARD = [
    "objective=combine",
    "objective.weights.hinton=[1.0,0.2]",
    "student.hidden_size=16",
    "trainer.accumulate_grad_batches=2",
    "trainer.max_epochs=3",
    "teacher.epochs=2",
    "optim.batch_size=16",
    "trainer.log_every_n_steps=1",
    "callbacks.resume.every_steps=3",
]


def overrides(model: Path, rows: Path) -> list[str]:
    changed = {override.split("=")[0] for override in HARD}
    return [*(o for o in tiny(model, rows) if o.split("=")[0] not in changed), *HARD]


def line(model: Path, rows: Path, folder: Path, *more: str) -> list[str]:
    place = [f"hydra.run.dir={folder}/run", f"store_dir={folder}/store"]
    return [sys.executable, "-m", "distill_lab", "train", *overrides(model, rows), *place, *more]


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def same(whole: Path, other: Path) -> None:
    """Hold two folders with a run and a store against each other, to the bit."""
    expected, found = (
        load_file(folder / "run" / "student" / "model.safetensors") for folder in (whole, other)
    )
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert lines(whole / "run" / "metrics.csv") == lines(other / "run" / "metrics.csv")
    for kind in ("teachers", "baselines"):
        (mine,), (theirs,) = (
            list((folder / "store" / kind).glob("[0-9a-f]*/metrics.csv"))
            for folder in (whole, other)
        )
        assert mine.parent.name == theirs.parent.name
        assert lines(mine) == lines(theirs), kind
        (first,), (second,) = (
            list(file.parent.rglob("model.safetensors")) for file in (mine, theirs)
        )
        assert first.read_bytes() == second.read_bytes()
    one, two = (Result.read(folder / "run" / "result.json") for folder in (whole, other))
    assert one.metrics == two.metrics
    for model in one.cost:
        for key in ("examples", "best_epoch", "selection"):
            assert one.cost[model].get(key) == two.cost[model].get(key), (model, key)
    assert not (other / "run" / FOLDER).exists()
    left = [p for p in (other / "store").rglob(".*") if p.is_dir()]
    assert not left, left


def here(model: Path, rows: Path, folder: Path, *more: str) -> None:
    run(compose(*overrides(model, rows), f"store_dir={folder}/store", *more), folder / "run")


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, encoder: Path, rows_file: Path
) -> Iterator[Path]:
    """A run that nobody ended."""
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    here(encoder, rows_file, folder)
    (folder / "seconds").write_text(str(time.monotonic() - started))
    yield folder


class Ends:
    """Ends trainings at steps of modules: as Ctrl-C does, or hard, with nothing saved."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def hard(self, module: type[Any], call: int) -> None:
        """Let the n-th step of a kind of module be the last of this process."""
        step, calls = module.training_step, iter(range(call))

        def training_step(self: Any, batch: Any, index: int) -> Any:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return step(self, batch, index)

        self.patch.setattr(module, "training_step", training_step)

    def softly(self, step: int) -> None:
        """Let Ctrl-C come at a step of the optimizer."""

        def agreed(self: Any, trainer: Any, index: int) -> tuple[int, bool]:
            return (signal.SIGINT if trainer.global_step == step else 0), False

        self.patch.setattr(Resume, "_agreed", agreed)


@pytest.mark.parametrize(
    ("module", "call"), [(FineTuning, 60), (Distillation, 17), (Distillation, 70)]
)
def test_a_process_that_vanishes(
    module: type[Any], call: int, encoder: Path, rows_file: Path, whole: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        Ends(patch).hard(module, call)
        with pytest.raises(BaseException) as ended:  # Lightning turns it into an exit
            here(encoder, rows_file, tmp_path)
        assert isinstance(ended.value, (KeyboardInterrupt, SystemExit))
    with caplog.at_level("INFO"):
        here(encoder, rows_file, tmp_path)
    assert "goes on after step" in caplog.text
    same(whole, tmp_path)


def test_ctrl_c_keeps_the_step_at_which_it_comes(
    encoder: Path, rows_file: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for step in (5, 25):  # of the teacher, which has 108 in two epochs; then again
        with monkeypatch.context() as patch:
            Ends(patch).softly(step)
            with pytest.raises(KeyboardInterrupt):
                here(encoder, rows_file, tmp_path)
    with caplog.at_level("INFO"):
        here(encoder, rows_file, tmp_path)
    assert "teacher: goes on after step 25 of an earlier try" in caplog.text
    same(whole, tmp_path)


def ended(*_: Any) -> Any:
    raise KeyboardInterrupt


def ended_before_the_baseline(
    model: Path, rows: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("distill_lab.run.train_baseline", ended)
        with pytest.raises(KeyboardInterrupt):
            here(model, rows, folder)


def test_a_student_that_is_trained_waits_for_the_run_to_go_on(
    encoder: Path, rows_file: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    ended_before_the_baseline(encoder, rows_file, tmp_path, monkeypatch)
    left = sorted(path.name for path in (tmp_path / "run" / FOLDER).iterdir())
    assert left == ["finished.ckpt", "finished.json"]
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(Distillation, "training_step", ended)  # nothing is trained again
        here(encoder, rows_file, tmp_path)
    assert "student: trained already, by an earlier try" in caplog.text
    same(whole, tmp_path)


def test_a_trained_student_that_is_damaged_is_trained_again(
    encoder: Path, rows_file: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_before_the_baseline(encoder, rows_file, tmp_path, monkeypatch)
    kept = tmp_path / "run" / FOLDER / "finished.ckpt"
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    here(encoder, rows_file, tmp_path)
    same(whole, tmp_path)


class Told(Exception):
    """In place of the signal by which a process ends."""


def test_a_process_that_is_told_to_end_keeps_the_step(
    lab: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning would end the training too, and before anything is kept."""
    step, calls, before = Distillation.training_step, iter(range(5)), signal.getsignal(SIGTERM)

    def told(self: Any, batch: Any, index: int) -> Any:
        if next(calls, None) == 4:
            os.kill(os.getpid(), SIGTERM)
        return step(self, batch, index)

    def ended(number: int) -> None:
        signal.signal(SIGTERM, before)
        raise Told

    monkeypatch.setattr(Distillation, "training_step", told)
    monkeypatch.setattr(signal, "raise_signal", ended)
    with pytest.raises(Told):
        lab("baseline=false")
    assert [file.name for file in (tmp_path / "run" / FOLDER).glob("*.ckpt")] == [
        "step-000000005.ckpt"
    ]
    lab("baseline=false")
    assert signal.getsignal(SIGTERM) == before  # of no trainer that has ended


def test_who_puts_the_batches_together_does_not_matter(
    encoder: Path, rows_file: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes beside the training, which are ahead of it when it ends; then one fewer, none."""
    for module, call, workers in ((FineTuning, 60, 2), (Distillation, 17, 1)):
        with monkeypatch.context() as patch:
            Ends(patch).hard(module, call)
            with pytest.raises((KeyboardInterrupt, SystemExit)):
                here(encoder, rows_file, tmp_path, f"workers={workers}")
    here(encoder, rows_file, tmp_path)
    same(whole, tmp_path)
    assert not multiprocessing.active_children()


def test_what_belongs_to_other_settings_is_not_gone_on_from(tmp_path: Path) -> None:
    files = ProgressFiles(tmp_path, "a")
    files.write(3, lambda file: torch.save({"global_step": 3}, file))
    found = ProgressFiles(tmp_path, "a").load()
    assert found is not None and found[1] == {"global_step": 3}
    assert ProgressFiles(tmp_path, "b").load() is None


def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = ProgressFiles(tmp_path, "a")
    for step in (3, 6, 9):
        files.write(step, lambda file, step=step: torch.save({"global_step": step}, file))  # type: ignore[misc]
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == [
        "step-000000006.ckpt", "step-000000009.ckpt",
    ]  # fmt: skip
    newest = tmp_path / "step-000000009.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    found = files.load()
    assert found is not None and found[1] == {"global_step": 6}
    assert "damaged" in caplog.text
    (tmp_path / "step-000000006.json").unlink()  # a note that was not written counts for nothing
    assert files.load() is None


def test_a_write_that_is_ended_leaves_the_one_before(tmp_path: Path) -> None:
    files = ProgressFiles(tmp_path, "a")
    files.write(3, lambda file: torch.save({"global_step": 3}, file))

    def ended(file: Path) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(6, ended)
    found = files.load()
    assert found is not None and found[1]["global_step"] == 3


def test_a_checkpoint_that_finds_no_room_ends_no_training(
    lab: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr("distill_lab.callbacks.resume._save", lambda _, file: full(file))
    result = lab("callbacks.resume.every_steps=5", "baseline=false")
    assert result.status == "finished" and "student: no checkpoint, " in caplog.text
    assert not (tmp_path / "run" / FOLDER).exists()


def test_random_states_come_back(tmp_path: Path) -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    np.random.normal()  # which keeps a second number for later
    file = tmp_path / "states.pt"
    torch.save(random_states(), file)

    def drawn() -> list[float]:
        return [random.random(), float(np.random.normal()), float(torch.rand(()))]

    first = drawn()
    restore(torch.load(file, weights_only=True))
    assert drawn() == first


def ended_run(folder: Path, *typed: str, result: bool = False) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in typed))
    if result:
        (folder / "result.json").write_text("{}")
    return folder


def test_the_same_line_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["study=mine", "seed=2"]
    ended_run(Path("runs/mine/2026-01-02_03-04-05.000006"), *typed, result=True)
    assert going_on(typed) == typed
    ended_run(Path("runs/mine/2026-01-02_03-04-05.000007"), *typed)
    ended_run(Path("runs/mine/seed=2"), *typed)  # a sweep's
    expected = "hydra.run.dir='runs/mine/2026-01-02_03-04-05.000007'"
    assert going_on(["seed=2", "study=mine"]) == ["seed=2", "study=mine", expected]
    assert going_on([*typed, "seed=3"]) == [*typed, "seed=3"]
    assert going_on([*typed, "hydra.run.dir=x"]) == [*typed, "hydra.run.dir=x"]


def test_a_run_is_named_to_go_on_with(tmp_path: Path) -> None:
    folder = ended_run(tmp_path / "run", "study=mine", "seed=2")
    place = f"hydra.run.dir='{folder}'"
    assert going_on([f"resume={folder}"]) == ["seed=2", "study=mine", place]
    done = ended_run(tmp_path / "done", "seed=2", result=True)
    for given, told in {
        (f"resume={tmp_path}",): "not the folder of a run",
        (f"resume={done}",): "the run is finished",
        (f"resume={folder}", "seed=3"): "leave out seed=3",
    }.items():
        with pytest.raises(ValueError, match=told):
            going_on(given)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_a_process_keeps_how_far_it_is(
    number: signal.Signals, workers: int, encoder: Path, rows_file: Path, whole: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    more = ["callbacks.resume.every_steps=null", f"workers={workers}"]
    process = subprocess.Popen(
        line(encoder, rows_file, tmp_path, *more), start_new_session=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for told in process.stderr:
        if told.startswith("student: epoch 1"):
            break
    os.killpg(process.pid, number)  # as a terminal does, or a scheduler
    rest = process.stderr.read()
    code = process.wait(timeout=60)
    assert code == (-number if number == signal.SIGTERM else 130), rest
    assert "keeps how far it is" in rest and "Traceback" not in rest
    assert list((tmp_path / "run" / FOLDER).glob("step-*.ckpt")), rest
    again = subprocess.run(
        line(encoder, rows_file, tmp_path, *more), capture_output=True, text=True, check=True
    )
    assert "student: goes on after step" in again.stderr
    same(whole, tmp_path)


@pytest.mark.slow
def test_killed_at_any_moment(encoder: Path, rows_file: Path, whole: Path, tmp_path: Path) -> None:
    drawn = random.Random(int(os.environ.get("KILL_SEED", "1")))
    most = 1.5 * float((whole / "seconds").read_text()) + 15  # a process has to start as well
    for _ in range(int(os.environ.get("KILLS", "6"))):
        process = subprocess.Popen(
            line(encoder, rows_file, tmp_path), stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout=drawn.uniform(8, most))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(line(encoder, rows_file, tmp_path), check=True, capture_output=True)
    same(whole, tmp_path)
