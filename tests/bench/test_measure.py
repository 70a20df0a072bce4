"""Measuring from what is typed to what is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_lab.bench.asked import Asked
from distill_lab.bench.measure import measure
from distill_lab.bench.show import bench
from distill_lab.cli import main
from distill_lab.errors import DataError, UsageError
from distill_lab.results import Result
from tests.stacks import stack

QUICK: dict[str, Any] = {"repetitions": 2, "warm_up": 1, "threads": 1, "device": "cpu"}


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished run."""
    shutil.copytree(finished / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_with_its_teacher_is_measured_and_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("run/student", "mute")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (here / "mute" / name).unlink()
    before = json.loads((here / "run" / "result.json").read_text())
    report = bench(Asked(["run", "mute"], teacher=True, **QUICK), "table", recorded=True)
    student, teacher = Result.read(Path("run/result.json")), "teacher"
    lines = {line.entry.model: line for line in report.lines}
    assert list(lines) == [teacher, "student"]
    for name, line in lines.items():
        one = line.entry
        assert 0 < one.latency_p50_ms <= one.latency_p95_ms and one.examples_per_second > 0
        assert one.parameters == student.parameters(name)
        weights = Path(line.subject.path) / "model.safetensors"
        assert one.size_mb == round(weights.stat().st_size / 1e6, 3)
        assert one.energy_j is None and one.rows["name"] == "reviews: evaluation"
        assert (one.device, one.repetitions, one.warm_up, one.batch_size) == ("cpu", 2, 1, 32)
    # Twice the layers: twice the operations but for the head.
    assert lines[teacher].entry.flops == pytest.approx(
        2 * (lines["student"].entry.flops or 0), 0.02
    )
    assert lines[teacher].soon is None
    soon = lines["student"].soon
    assert soon is not None and soon.value > 0 and soon.low is None
    assert [entry["model"] for entry in student.bench] == [teacher, "student"]
    after = json.loads((here / "run" / "result.json").read_text())
    after.pop("bench"), before.pop("bench")
    assert after == before
    out, err = capsys.readouterr()
    assert "bench: 2 more rounds, less than a minute\n" in err
    assert "mute: not measured: it has no tokeniser, and reviews: evaluation is text" in out
    assert "fewer than 6 rounds give no interval" in out and "not measured (" in out
    assert "added to run/result.json" in out


def test_the_rest_goes_on_without_a_form_that_cannot_be_had(here: Path) -> None:
    """A decoder of GPT-2 has no linear layers that torchao knows; a classifier stands beside it."""
    stack("gpt2").save_pretrained("decoder")
    before = (here / "run" / "result.json").read_bytes()
    report = measure(Asked(["run", "decoder"], forms=("int8", "eager"), lengths=[8, 16], **QUICK))
    measured = [(line.entry.model, line.entry.form) for line in report.lines]
    assert measured == [("student", "int8"), ("student", "eager"), ("decoder", "eager")]
    ((name, form, reason),) = report.left_out
    assert (name, form) == ("decoder", "int8") and "torchao rounds linear layers of" in reason
    assert report.against == "student, int8"
    assert (here / "run" / "result.json").read_bytes() == before


def test_a_model_is_too_short_for_the_rows(here: Path) -> None:
    stack("bert").save_pretrained("short")
    with pytest.raises(DataError) as told:
        measure(Asked(["short"], lengths=[64], **QUICK))
    assert str(told.value).splitlines() == [
        "nothing could be measured",
        "short: not measured: it takes at most 32 tokens, lengths 64 has 64",
    ]


def test_rows_that_are_gone_are_said(here: Path) -> None:
    file = here / "run" / "config.yaml"
    content = yaml.safe_load(file.read_text())
    content["task"]["train_file"] = "gone.csv"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"gone\.csv"):
        measure(Asked(["run"], **QUICK))


def test_a_store_that_is_gone_is_not_made_again(here: Path) -> None:
    report = measure(Asked(["run"], store_dir=Path("elsewhere"), baseline=True, **QUICK))
    assert [line.entry.model for line in report.lines] == ["student"]
    assert report.left_out[0][0] == "baseline" and not (here / "elsewhere").exists()


def test_an_encoder_without_a_head_gets_that_of_the_rows(here: Path, encoder: Path) -> None:
    report = measure(Asked([str(encoder)], rows=Path("run"), **QUICK))
    (line,) = report.lines
    assert "encoder: it has no head; measured with a new one for 2 labels" in report.notes
    assert line.subject.owners == () and report.against == "encoder, eager"


@pytest.mark.slow
def test_onnx_forms_are_measured_at_the_size_of_their_files(here: Path) -> None:
    report = measure(Asked(["run"], forms=("eager", "onnx", "onnx-int8"), **QUICK))
    assert report.left_out == []
    eager, onnx, small = (line.entry for line in report.lines)
    assert [one.form for one in (eager, onnx, small)] == ["eager", "onnx", "onnx-int8"]
    assert small.size_mb < onnx.size_mb and onnx.size_mb > 0.9 * eager.size_mb
    assert "onnxruntime" in onnx.versions and "onnxruntime" not in eager.versions
    assert onnx.process_memory_mb < eager.process_memory_mb  # no torch
    assert eager.flops == onnx.flops


@pytest.mark.slow
def test_compiled_is_measured(here: Path) -> None:
    report = measure(Asked(["run"], forms=("compiled",), lengths=[8], **QUICK))
    assert [line.entry.form for line in report.lines] == ["compiled"]


@pytest.mark.parametrize("line", ["--repetitions 0", "--threads 0", "--forms a", "--device x"])
def test_typed_faults_end_with_one_sentence(
    line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["distill-lab", "bench", "run", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and len(told.splitlines()) == 1
    assert told.startswith(f"distill-lab: {line.replace(' ', '=')}: ")


def test_help_names_the_forms_and_imports_no_torch() -> None:
    code = (
        "import sys; from distill_lab.verbs.bench import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False" and "onnx-int8" in told.stdout
