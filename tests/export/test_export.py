"""`distill-lab export`: a folder that answers as the student does, or none."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from distill_lab.errors import UsageError
from distill_lab.export import exporting, graph
from distill_lab.export.formats import to_onnx_int8
from distill_lab.export.parity import BOUNDS, Parity, _correlation
from distill_lab.serving import served
from distill_lab.serving.onnx_model import OnnxModel
from distill_lab.serving.served import open_run
from distill_lab.verbs.export import main
from distill_lab.verbs.predict import main as predict

Finished = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]
# What may be installed beside onnxruntime, tokenizers and numpy is out of reach.
ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "distill_lab", "onnx", "pandas"}:
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
"""


@pytest.fixture(scope="session")
def exported(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder of an export by kind and form, each made once."""
    place, made = tmp_path_factory.mktemp("exported"), dict[tuple[str, str], Path]()

    def of(kind: str, form: str = "onnx") -> Path:
        if (kind, form) not in made:
            made[kind, form] = place / f"{kind}-{form}"
            main([str(finished(kind)), "--to", form, "-o", str(made[kind, form])])
        return made[kind, form]

    return of


def lines_of(folder: Path) -> str:
    """The lines of the README that run it."""
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def alone(folder: Path, code: str, python: str = sys.executable) -> str:
    """What code prints in a folder, with nothing but onnxruntime, tokenizers and numpy."""
    done = subprocess.run(
        [python, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Every kind of student


KINDS = [
    "classes", "numbers", "spans",
    *(pytest.param(kind, marks=pytest.mark.slow)
      for kind in ("pictures", "masked", "causal", "instruction")),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_onnx_folder_answers_as_the_student(
    kind: str, exported: Callable[..., Path], finished: Finished, capsys: Capture
) -> None:
    folder, run = exported(kind), finished(kind)
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["checked"] and parity["largest_difference"] < 1e-4
    assert parity["agreement"] in (None, 1.0)
    numbers = parity["agreement"] is None
    assert (parity["correlation"] is not None) == numbers
    assert not numbers or parity["correlation"] == pytest.approx(1.0)
    metrics = json.loads((run / "result.json").read_text())["metrics"]["student"]
    assert parity["before"] == pytest.approx(metrics[parity["metric"]], rel=1e-4)
    assert parity["after"] == pytest.approx(parity["before"], rel=1e-4)
    graph_file = onnx.load(folder / "model.onnx")
    axes = {
        tuple(size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim)
        for each in graph_file.graph.input
    }
    assert axes == ({("batch", 1, 8, 8)} if kind == "pictures" else {("batch", "length")})
    assert str(run) not in graph_file.SerializeToString().decode("latin-1")
    assert "site-packages" not in graph_file.SerializeToString().decode("latin-1")
    if kind != "pictures":
        text = ["the film [MASK] bad"] if kind in ("classes", "masked") else ["the film"]
        text += ["who likes what"] if kind in ("numbers", "spans") else []
        capsys.readouterr()
        for each in (run, folder):
            predict([str(each), *text])
        one, other = capsys.readouterr().out.splitlines()
        if kind == "numbers":
            assert float(one.split("\t")[0]) == pytest.approx(float(other.split("\t")[0]), abs=1e-4)
        else:
            assert one.split("\t")[0] == other.split("\t")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_readme_run_alone(kind: str, exported: Callable[..., Path]) -> None:
    folder = exported(kind)
    told = alone(folder, ALONE + lines_of(folder))
    assert told.strip() or kind in ("causal", "instruction", "spans")


def test_onnxruntime_alone_gives_the_same_labels(
    exported: Callable[..., Path], finished: Finished
) -> None:
    folder, run = exported("classes"), finished("classes")
    told = pd.read_parquet(run / "predictions.parquet").sort_values("id")
    texts = pd.read_csv(run.parent / "reviews.csv").text.iloc[told.id].tolist()
    texts[0] *= 30  # cut as in training
    code = lines_of(folder).replace('["a text", "another, longer text"]', json.dumps(texts))
    names = ["negative", "positive"]
    found = json.loads(alone(folder, ALONE + code).replace("'", '"'))
    assert found[1:] == [names[at] for at in told.student][1:]
    student = open_run(run)
    assert student.tokenizer is not None
    given = student.tokenizer(texts[:1], truncation=True, max_length=32, return_tensors="pt")
    assert found[0] == names[int(student.model(**given).logits.argmax())]


@pytest.mark.slow
def test_a_separate_environment_gives_the_same_labels(
    exported: Callable[..., Path], finished: Finished, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "onnxruntime", "tokenizers", "numpy"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"pip cannot install onnxruntime here: {done.stderr.strip()[-200:]}")
    folder, run = exported("classes"), finished("classes")
    told = pd.read_parquet(run / "predictions.parquet").sort_values("id")
    texts = pd.read_csv(run.parent / "reviews.csv").text.iloc[told.id].tolist()
    code = lines_of(folder).replace('["a text", "another, longer text"]', json.dumps(texts))
    found = json.loads(alone(folder, code, python).replace("'", '"'))
    assert found == [["negative", "positive"][at] for at in told.student]
    assert (
        "No module"
        in subprocess.run([python, "-c", "import torch"], capture_output=True, text=True).stderr
    )


# Other forms


@pytest.mark.parametrize("kind", ["classes", "numbers", "spans"])
def test_int8_in_onnx_is_smaller_and_close(
    kind: str, exported: Callable[..., Path], finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = exported(kind)

    def made_before(served: object, folder: Path) -> None:
        shutil.copytree(whole, folder)

    monkeypatch.setattr(exporting, "to_onnx", made_before)
    # This regression has learned next to nothing: its answers differ by less than 8 bits tell.
    bound = ["--min-agreement", "0.5"] if kind == "numbers" else []
    main([str(finished(kind)), "--to", "onnx-int8", *bound])
    folder = finished(kind) / "export" / "onnx-int8"
    parity = json.loads((folder / "parity.json").read_text())
    assert 0 < parity["largest_difference"] < 0.2
    made = onnx.load(folder / "model.onnx").graph
    held = {each.name: onnx.numpy_helper.to_array(each) for each in made.initializer}
    weights = [values for values in held.values() if values.dtype == np.int8 and values.ndim == 2]
    scales = [v for name, v in held.items() if name.endswith("_scale") and v.ndim == 1]
    assert len(weights) == len(scales) >= 6  # one scale for each output channel
    assert all(values.min() >= -127 for values in weights)
    rounded = max(held.values(), key=lambda values: values.size)
    assert rounded.dtype == np.uint8 and len(rounded) == 345  # the embeddings of 345 words
    assert not list(folder.glob(".*"))


def test_a_student_trained_for_int8_is_exported_as_it_was_scored(
    exported: Callable[..., Path], finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    run, folder = finished("int8"), exported("int8", "onnx-int8")
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["largest_difference"] < 1e-4 and parity["agreement"] == 1.0
    metrics = json.loads((run / "result.json").read_text())["metrics"]["student"]
    assert parity["after"] == pytest.approx(metrics["accuracy"], abs=1e-6)
    told = pd.read_parquet(run / "predictions.parquet").sort_values("id")
    texts = pd.read_csv(run.parent / "reviews.csv").text.iloc[told.id].tolist()
    logits = np.stack(told.student_logits)
    shares = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).max(axis=1)
    for place in (run, folder):  # both round; the run's predictions are those of int8
        capsys.readouterr()
        predict([str(place), *texts])
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [line[0] for line in lines] == [["negative", "positive"][at] for at in told.student]
        assert np.allclose([float(line[1]) for line in lines], shares, atol=1e-4)


@pytest.mark.parametrize("kind", ["masked", "causal"])
@pytest.mark.slow
def test_what_predicts_words_with_the_embeddings_stays_float(
    kind: str, exported: Callable[..., Path]
) -> None:
    made = onnx.load(exported(kind, "onnx-int8") / "model.onnx").graph
    held = {each.name: onnx.numpy_helper.to_array(each) for each in made.initializer}
    words = max(values.shape[0] for values in held.values() if values.ndim == 2)
    wide = [values for values in held.values() if words in values.shape and values.ndim == 2]
    assert {values.dtype for values in wide} == {np.dtype(np.float32)}
    assert any(values.dtype == np.int8 for values in held.values())


@pytest.mark.parametrize("marked", [True, False])
def test_the_embeddings_of_a_student_trained_for_int8_stay_float(
    marked: bool, exported: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(exported("classes"), tmp_path / "whole")
    if marked:
        config = tmp_path / "whole" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "trained_for_int8": {}}))
    to_onnx_int8(tmp_path / "whole", tmp_path / "int8")
    made = onnx.load(tmp_path / "int8" / "model.onnx").graph
    words = [
        onnx.numpy_helper.to_array(each) for each in made.initializer if each.dims[:1] == [345]
    ]
    assert [values.dtype == np.float32 for values in words] == [marked]


@pytest.mark.parametrize(
    ("dtype", "stored"), [(None, "F16"), ("bfloat16", "BF16"), ("float32", "F32")]
)
def test_safetensors_of_every_precision(
    dtype: str | None, stored: str, finished: Finished, tmp_path: Path
) -> None:
    run, out = finished("classes"), tmp_path / "out"
    main([str(run), "--to", "safetensors", "-o", str(out), *(["--dtype", dtype] if dtype else [])])
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in list(file.keys())} == {stored}
    parity = json.loads((out / "parity.json").read_text())
    assert (parity["largest_difference"] > 0) == (stored != "F32")
    if dtype == "bfloat16":
        told = alone(out, lines_of(out))
        assert "logits" in told and "torch.bfloat16" in told


def test_int8_by_torchao_is_smaller_and_close(
    exported: Callable[..., Path], finished: Finished, capsys: Capture
) -> None:
    run, folder = finished("classes"), exported("classes", "int8")
    parity = json.loads((folder / "parity.json").read_text())
    assert 0 < parity["largest_difference"] < 0.2 and parity["agreement"] >= 0.95
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    rounded = [name for name, dtype in stored.items() if dtype == "I8"]
    assert len(rounded) >= 6 and not any("embeddings" in name for name in rounded)
    assert "logits" in alone(folder, lines_of(folder))
    said = []
    for place in (run, folder):
        capsys.readouterr()
        predict([str(place), "a good film", "a bad film"])
        said.append([line.split("\t") for line in capsys.readouterr().out.splitlines()])
    assert [line[0] for line in said[0]] == [line[0] for line in said[1]]
    shares = np.array([[float(line[1]) for line in lines] for lines in said])
    assert not np.array_equal(*shares) and np.allclose(*shares, atol=0.05)


def test_a_student_trained_for_int8_is_by_torchao_what_was_scored(
    exported: Callable[..., Path],
) -> None:
    parity = json.loads((exported("int8", "int8") / "parity.json").read_text())
    # The same weights; activations have a scale for each token here, as torchao rounds them.
    assert parity["largest_difference"] < 0.02 and parity["agreement"] == 1.0


def test_what_predicts_words_stays_float_by_torchao(exported: Callable[..., Path]) -> None:
    with safe_open(exported("masked", "int8") / "model.safetensors", "pt") as file:
        stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    words = max(each.get_shape()[0] for each in stored.values())
    wide = {one.get_dtype() for one in stored.values() if words in one.get_shape()[:1]}
    assert wide == {"F32"} and any(one.get_dtype() == "I8" for one in stored.values())


def test_a_missing_package_is_told_with_its_line(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)  # as if it were not there
    with pytest.raises(UsageError, match=r"torchao is not installed; type: pip install '.*int8"):
        main([str(finished("classes")), "--to", "int8", "-o", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


def test_an_int8_folder_asks_for_the_package_that_reads_it(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    main([str(finished("classes")), "--to", "safetensors", "-o", str(out)])
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "torchao"}
    (out / "config.json").write_text(json.dumps(config, indent=2))
    monkeypatch.setattr(served, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"torchao is not installed; type: pip install"):
        predict([str(out), "a text"])


# What is not good is not left


def damaged(
    good: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Let the exporter write one weight matrix wrong."""

    def wrong(served: object, folder: Path) -> None:
        shutil.copytree(good, folder, dirs_exist_ok=True)
        made = onnx.load(folder / "model.onnx")
        largest = next(i for i in made.graph.initializer if "word_embeddings" in i.name)
        values = change(onnx.numpy_helper.to_array(largest).copy())
        largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
        onnx.save(made, folder / "model.onnx")

    monkeypatch.setattr(exporting, "to_onnx", wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda v: v[::-1].copy(),
            r"logits differ by up to .*, and .* of the answers are the same",
        ),
        (lambda v: v * 1.01, r"logits differ by up to 0\.\d+, over --max-difference 0.001;"),
        (lambda v: v * np.nan, "logits differ by up to nan"),
    ],
    ids=["other words", "a little", "no numbers"],
)
def test_a_form_over_its_bounds_is_an_error(
    change: Callable[[np.ndarray], np.ndarray], said: str, finished: Finished, tmp_path: Path,
    exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(exported("classes"), tmp_path / "good")
    damaged(exported("classes"), monkeypatch, change)
    for name in ("good", "new"):
        with pytest.raises(UsageError, match=said):
            main([str(finished("classes")), "--to", "onnx", "-o", str(tmp_path / name)])
    assert [path.name for path in tmp_path.iterdir()] == ["good"]  # the earlier one stays
    assert OnnxModel(tmp_path / "good").inputs


def test_wider_bounds_let_it_through(
    finished: Finished, exported: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: Capture,
) -> None:  # fmt: skip
    damaged(exported("classes"), monkeypatch, lambda values: values * 1.01)
    out = tmp_path / "out"
    main([str(finished("classes")), "--to", "onnx", "-o", str(out), "--max-difference", "1"])
    assert "| 1 |" in (out / "README.md").read_text()
    assert json.loads((out / "parity.json").read_text())["bounds"]["difference"] == 1.0
    told = capsys.readouterr().out
    assert "largest difference of two logits" in told and f"kept in {out}" in told


def test_a_model_that_no_exporter_takes_is_told(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(graph, "_export", fails)
    with pytest.raises(UsageError, match=r"cannot be exported to ONNX.*no such operator") as raised:
        main([str(finished("classes")), "--to", "onnx", "-o", str(tmp_path / "out")])
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_graph_that_is_not_the_model_does_not_count(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = graph._export

    def wrong(whole: Any, given: tuple[torch.Tensor, ...], path: Path, dynamo: bool) -> None:
        words = whole.model.get_input_embeddings().weight
        with torch.no_grad():
            words[50:] *= 1.5
            export(whole, given, path, dynamo=False)
            words[50:] /= 1.5

    monkeypatch.setattr(graph, "_export", wrong)
    monkeypatch.setattr(graph, "_example", _many_words(graph._example))
    with pytest.raises(UsageError, match=r"its graph differs from it by .* tokens"):
        main([str(finished("classes")), "--to", "onnx", "-o", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


def _many_words(example: Callable[..., Any]) -> Callable[..., Any]:
    """Let the rows on which a graph is tried have other words than the first ones."""

    def many(model: Any, inputs: list[str], shape: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        words, *rest = example(model, inputs, shape)
        return words + 60, *rest

    return many


def test_a_full_disk_is_told_and_leaves_nothing(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_tell", full)
    run = str(finished("classes"))
    with pytest.raises(UsageError, match=r"the disk is full .*--output="):
        main([run, "--to", "safetensors", "-o", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


# Rows


@pytest.fixture
def without_rows(finished: Finished, tmp_path: Path) -> Path:
    """A run whose data have been moved away."""
    run = tmp_path / "run"
    shutil.copytree(finished("classes"), run, ignore=shutil.ignore_patterns("export"))
    config = run / "config.yaml"
    place = str(finished("classes").parent / "reviews.csv")
    config.write_text(config.read_text().replace(place, str(tmp_path / "reviews.csv")))
    return run


def test_without_rows_nothing_is_exported_unasked(
    without_rows: Path, finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    given = [str(without_rows), "--to", "safetensors"]
    with pytest.raises(UsageError, match=r"cannot be read .*--rows FILE, or take --unchecked"):
        main(given)
    assert not (without_rows / "export").exists()
    main([*given, "--unchecked"])
    folder = without_rows / "export" / "safetensors"
    assert "**Unchecked**" in (folder / "README.md").read_text()
    assert not json.loads((folder / "parity.json").read_text())["checked"]
    (tmp_path / "some.jsonl").write_text('{"text": "a great film"}\n{"text": "a dull one"}\n')
    main([*given, "--rows", str(tmp_path / "some.jsonl")])
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["count"] == 2 and parity["agreement"] == 1.0 and parity["before"] is None
    assert "some.jsonl" in capsys.readouterr().out


def test_other_rows_are_not_those_of_the_run(
    without_rows: Path, finished: Finished, tmp_path: Path
) -> None:
    rows = pd.read_csv(finished("classes").parent / "reviews.csv")
    rows["text"] += " indeed"
    rows.to_csv(tmp_path / "reviews.csv", index=False)
    with pytest.raises(UsageError, match="evaluation split are not those that the run had"):
        main([str(without_rows), "--to", "safetensors"])


@pytest.mark.parametrize("kind", ["numbers", "spans", "masked", "causal", "instruction"])
def test_rows_of_a_file_check_every_kind(kind: str, finished: Finished, tmp_path: Path) -> None:
    rows = {
        "numbers": {"sentence1": "a film", "sentence2": "a story"},
        "spans": {"question": "who likes it", "context": "the film ann likes"},
        "instruction": {"prompt": "abc ="},
    }.get(kind, {"text": "a long story about the sea"})
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows) + "\n")
    main([str(finished(kind)), "--to", "safetensors", "--rows", str(tmp_path / "rows.jsonl"),
          "-o", str(tmp_path / "out"), "--min-agreement", "0.5"])  # fmt: skip
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["count"] == 1 and 0 < parity["largest_difference"] < 0.05


def test_a_folder_of_something_else_is_not_overwritten(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no exported folder; name another"):
        main([str(finished("classes")), "--to", "safetensors", "-o", str(tmp_path)])
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dtype", "float16"], "it goes with --to safetensors"),
        (["--unchecked", "--rows", "x.csv"], "one asks for a check"),
        (["--max-difference", "-1"], "--max-difference -1.0: 0 or more"),
        (["--min-agreement", "2"], "--min-agreement 2.0: a share"),
    ],
)
def test_arguments_that_contradict_are_named(more: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        main([str(tmp_path), "--to", "onnx", *more])


def test_an_exported_folder_is_not_exported_again(
    exported: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="it is an exported folder"):
        main([str(exported("classes")), "--to", "safetensors", "-o", str(tmp_path / "out")])


def test_numbers_that_no_longer_follow_the_student_are_refused() -> None:
    near = Parity("rows", 3, 0.01, 0.005, None, 0.93)
    assert near.faults(BOUNDS["onnx-int8"]) == [
        "answers correlate by 0.9300 alone, under --min-agreement 0.95"
    ]
    assert not replace(near, correlation=0.96).faults(BOUNDS["onnx-int8"])
    assert not replace(near, correlation=None).faults(BOUNDS["onnx-int8"])
    one = torch.tensor([0.1, 0.2, 0.4])
    assert _correlation(one, 3 * one + 1) == pytest.approx(1.0)
    assert _correlation(one, -one) == pytest.approx(-1.0)
    assert _correlation(torch.ones(3), one) is None and _correlation(one[:1], one[:1]) is None
