"""The command line as a person types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distill_lab import __version__
from tests.conftest import tiny
from tests.results.made import made, three


def typed(*line: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill_lab", *line],
        capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_help_names_the_verbs() -> None:
    for line in (["--help"], []):
        answer = typed(*line)
        assert answer.returncode == 0
        assert "distill-lab train" in answer.stdout and "distill-lab compare" in answer.stdout


def test_version() -> None:
    assert typed("--version").stdout.strip() == __version__


def test_train_help_explains_groups_and_keys() -> None:
    text = typed("train", "--help").stdout
    for word in ("objective.temperature", "objective.lam", "teacher.model", "glue/sst2", "hinton"):
        assert word in text


def test_compare_help() -> None:
    answer = typed("compare", "--help")
    assert answer.returncode == 0 and "retention" in answer.stdout


_QUICK = [
    "--help", "train --help", "train --cfg job", "predict nowhere text", "export no --to onnx",
    "bench src/nowhere", "compare nowhere", "report nowhere -o page.html",
]  # fmt: skip


@pytest.mark.parametrize("line", _QUICK)
def test_quick_answers_do_not_import_torch(line: str) -> None:
    code = (
        "import sys; from distill_lab.cli import main; sys.argv = ['distill-lab', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'pandas', 'datasets', 'wandb'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *line.split()], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "heavy: []", answer.stdout[-300:]


def test_a_key_that_is_typed_twice_is_told(tmp_path: Path) -> None:
    answer = typed("train", "seed=1", "seed=2", "study=a", "study=a", "--cfg", "job", cwd=tmp_path)
    assert "seed: 2" in answer.stdout
    assert answer.stderr == "distill-lab: seed is typed twice; seed=2 counts\n"


def test_cfg_job_shows_what_is_typed(tmp_path: Path) -> None:
    answer = typed("train", "task=glue/mnli", "objective.lam=0.9", "--cfg", "job", cwd=tmp_path)
    assert answer.returncode == 0
    assert "lam: 0.9" in answer.stdout and "name: mnli" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_no_result_and_says_how_to_go_on(
    finetuned: Path, rows_file: Path, tmp_path: Path
) -> None:
    line = [*tiny(finetuned, rows_file), "trainer.max_epochs=1000", "callbacks.progress.silence=0"]
    job = subprocess.Popen(
        [sys.executable, "-m", "distill_lab", "train", *line],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert job.stderr is not None
    for said in job.stderr:
        if said.startswith("student: ") and "of the steps" in said:
            break
    job.send_signal(signal.SIGINT)
    rest = job.stderr.read()
    assert job.wait(60) == 130
    assert rest.splitlines()[-1].startswith("distill-lab: interrupted")
    assert "Traceback" not in rest
    assert not list(tmp_path.rglob("result.json")) and not list(tmp_path.rglob("error.txt"))


def test_other_folders_of_the_working_folder_are_not_configuration(tmp_path: Path) -> None:
    for folder in ("study", "seed", "objective"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("lam: 99")
    answer = typed("train", "study=mine", "seed=7", "--cfg", "job", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "study: mine" in answer.stdout and "seed: 7" in answer.stdout
    answer = typed("train", "objective=mine", "--cfg", "job", cwd=tmp_path)
    assert answer.returncode == 2 and "objective=mine: there is no such choice" in answer.stderr


def test_experiments_of_the_working_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    overlay = "# @package _global_\nstudy: mine\nobjective: {temperature: 7}\n"
    (tmp_path / "experiments" / "mine.yaml").write_text(overlay)
    answer = typed("train", "experiments=mine", "--cfg", "job", cwd=tmp_path)
    assert "temperature: 7" in answer.stdout and "study: mine" in answer.stdout


def test_a_users_own_objective_is_found(tmp_path: Path) -> None:
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "conf" / "objective" / "mine.yaml").write_text("_target_: mine.Mine\nlam: 0.1\n")
    answer = typed("train", "--config-dir", "conf", "objective=mine", "--cfg", "job", cwd=tmp_path)
    assert "_target_: mine.Mine" in answer.stdout


def test_a_terminal_without_the_letters_gets_the_table(tmp_path: Path) -> None:
    made(tmp_path / "run", three(1, 0.8))
    made(tmp_path / "run2", three(2, 0.8), seed=2)
    command = [sys.executable, "-m", "distill_lab", "compare", str(tmp_path)]
    answer = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert rb"\xb1" in answer.stdout and b"student" in answer.stdout
