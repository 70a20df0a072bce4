"""Runs with a teacher of whom only the largest logits are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill_lab.disk import in_bytes
from distill_lab.errors import ConfigError, ModelError
from distill_lab.hydra_entry import compose
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.store import file_digest
from distill_lab.store_verbs import entries
from distill_lab.teachers.signal_bytes import top_bytes
from distill_lab.top_logits import TopK
from tests.conftest import BAD, FILLER, GOOD, tiny
from tests.teachers.test_cached import losses

Go = Callable[..., Result]
CLASSES = 8
WORDS = [*GOOD, *BAD][:CLASSES]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 300 rows in eight classes, each told by a word."""
    random = np.random.default_rng(0)
    labels = random.integers(CLASSES, size=300)
    text = [" ".join([*random.choice(FILLER, random.integers(2, 9)), WORDS[i]]) for i in labels]
    path = tmp_path_factory.mktemp("many") / "words.csv"
    table = pd.DataFrame({"text": text, "label": [f"class {i}" for i in labels]})
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, encoder: Path, many: Path) -> Path:
    """A folder with a model fine-tuned on these rows."""
    work = tmp_path_factory.mktemp("teacher")
    config = compose(
        *tiny(encoder, many), f"store_dir={work}/store", "trainer.max_steps=1", "baseline=false",
        "teacher.min_over_chance=-1",
    )  # fmt: skip
    run(config, work / "run")
    return next((work / "store" / "teachers").glob("*/config.json")).parent


@pytest.fixture
def go(lab: Go, many: Path, teacher: Path) -> Go:
    def typed(*overrides: str, out: str = "run") -> Result:
        return lab(
            f"task.train_file={many}", f"teacher.model={teacher}", "baseline=false",
            "teacher.min_over_chance=-1", *overrides, out=out,
        )  # fmt: skip

    return typed


def kept(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / "store" / "signals").glob("*/entry.json"))


@pytest.mark.parametrize(
    "line",
    [
        "objective=hinton trainer.accumulate_grad_batches=2",
        "objective=reverse_kl objective.temperature=2",
        "objective=jsd",
        "objective=skew_kl",
        "objective=pkd",
        "objective=distilbert",
        "objective=tinybert",
        "objective=combine",
    ],
)
def test_kept_logits_teach_as_those_of_the_live_teacher(line: str, go: Go, tmp_path: Path) -> None:
    """At every step, from several files; and all classes teach as all logits do."""
    every = [*line.split(), "teacher.cache_dtype=float32"]
    for name, more in {
        "off": ["teacher.cache=off", "teacher.cache_top_k=3"],
        "on": ["teacher.cache=on", "teacher.cache_top_k=3"],
        "all": ["teacher.cache=on", f"teacher.cache_top_k={CLASSES}"],
        "dense": ["teacher.cache=on"],
    }.items():
        go(*every, *more, out=name)
    off, on, whole, dense = (losses(tmp_path / name) for name in ("off", "on", "all", "dense"))
    assert len(on) > 3
    np.testing.assert_allclose(on, off, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole, dense, rtol=1e-4, atol=1e-5)
    soft = next(name for name in on if name.endswith("soft"))
    first = on[soft].dropna().index[0]
    if first == 0:  # before the students differ
        assert on[soft][0] < dense[soft][0]
    assert on["train/agreement"].between(0, 1).all()


def test_one_entry_serves_a_sweep_over_its_temperatures(go: Go, tmp_path: Path) -> None:
    line = ["teacher.cache=on", "teacher.cache_top_k=2", "teacher.cache_temperatures=[1,2,4]"]
    for temperature in (1, 2, 4):
        go(*line, f"objective.temperature={temperature}", out=f"t{temperature}")
    (entry,) = kept(tmp_path)
    (about,) = (each.about for each in entries(tmp_path / "store") if each.path == entry)
    assert about.endswith("on words: 2 largest of 8 logits, T = 1, 2, 4")
    values = [losses(tmp_path / f"t{t}")["train/soft"].iloc[0] for t in (1, 2, 4)]
    assert len(set(values)) == 3


def test_an_entry_with_more_temperatures_is_found_and_one_with_others_is_told(
    go: Go, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = ["teacher.cache=on", "teacher.cache_top_k=2"]
    go(*line, "objective.temperature=1", out="one")
    with caplog.at_level("INFO", "distill_lab"):
        go(*line, "teacher.cache_temperatures=[2,4]", "objective.temperature=2", out="two")
    assert "'teacher.cache_temperatures=[1,2,4]' keeps one entry for all" in caplog.text
    assert len(kept(tmp_path)) == 2
    go(*line, "objective.temperature=4", out="four")
    assert len(kept(tmp_path)) == 2
    go("teacher.cache=off", "teacher.cache_top_k=2", "objective.temperature=4", out="off")
    np.testing.assert_allclose(
        losses(tmp_path / "four"), losses(tmp_path / "off"), rtol=1e-5, atol=1e-6
    )
    go(*line, "objective.temperature=3", out="three")
    go("teacher.cache=on", "teacher.cache_top_k=3", "objective.temperature=3", out="k3")
    go("teacher.cache=on", "objective.temperature=3", out="dense")
    assert len(kept(tmp_path)) == 5


def test_the_mass_outside_is_told_and_kept(
    go: Go, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "distill_lab"):
        go("teacher.cache=on", "teacher.cache_top_k=2", "teacher.cache_temperatures=[1,4]")
    go("teacher.cache=on", out="dense")
    few, dense = sorted(kept(tmp_path), key=lambda p: not (p / "mass_outside.json").is_file())
    told = json.loads((few / "mass_outside.json").read_text())
    assert (told["k"], told["classes"], told["temperatures"]) == (2, CLASSES, [1.0, 4.0])
    logits = load_file(dense / "00000.safetensors")["logits"].double()
    for each in told["mass_outside"]:
        powers = (logits / each["temperature"]).softmax(dim=1).sort(dim=1).values
        outside = powers[:, :-2].sum(dim=1)
        assert each["mean"] == pytest.approx(outside.mean().item(), rel=1e-4)
        assert each["largest"] == pytest.approx(outside.max().item(), rel=1e-4)
        said = f"mean {each['mean']:.3g}, largest {each['largest']:.3g} at T ="
        assert f"{said} {each['temperature']:g}" in caplog.text
    assert "probability outside the 2 largest of 8 logits: mean" in caplog.text


def test_the_size_is_foreseen(go: Go, tmp_path: Path) -> None:
    line = ["teacher.cache=on", "teacher.cache_top_k=2", "teacher.cache_temperatures=[1,4]"]
    result, top = go(*line), TopK(2, (1.0, 4.0))
    (entry,) = kept(tmp_path)
    tensors = load_file(entry / "00000.safetensors")
    assert tensors["top.indices"].dtype == torch.int16
    numbers = sum(tensors[f"top.{name}"].nbytes for name in ("values", "indices", "rest"))
    assert numbers == result.rows["train"] * top_bytes(top, CLASSES)
    size = in_bytes(result.rows["train"] * (top_bytes(top, CLASSES) + 16))
    with pytest.raises(ConfigError, match=f"the signals of .* rows take {size} and"):
        go(*line, "teacher.cache_max_gb=1e-9", out="no")


@pytest.mark.parametrize(
    ("name", "told"),
    [("values", "holds logits that differ"), ("rest", r"holds mass outside \(T = 4\) that diff")],
)
def test_stored_signals_of_another_teacher_are_told(
    name: str, told: str, go: Go, tmp_path: Path
) -> None:
    """As a changed library would do, which no fingerprint sees."""
    line = ["teacher.cache=on", "teacher.cache_top_k=2"]
    go(*line, out="first")
    (entry,) = kept(tmp_path)
    file = entry / "00000.safetensors"
    with_about = {"temperatures": "[4.0]", "classes": str(CLASSES)}
    content = load_file(file)
    content[f"top.{name}"] = content[f"top.{name}"] + 0.5
    save_file(content, file, with_about)
    about = json.loads((entry / "entry.json").read_text())
    about["files"][file.name] = file_digest(file)
    (entry / "entry.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match=told):
        go(*line, out="second")


def test_an_ensembles_average_is_reduced(
    lab: Go, many: Path, teacher: Path, tmp_path: Path
) -> None:
    line = ["teacher=ensemble", f"teacher.models=[{teacher}]", "teacher.each.min_over_chance=-1",
            "teacher.each.epochs=1", "teacher.each.lr=1e-3", "teacher.cache_top_k=2",
            "baseline=false", f"task.train_file={many}"]  # fmt: skip
    for when in ("on", "off"):
        lab(*line, f"teacher.cache={when}", out=when)
    on, off = (losses(tmp_path / when) for when in ("on", "off"))
    np.testing.assert_allclose(on, off, rtol=1e-5, atol=1e-6)
    (entry,) = kept(tmp_path)
    assert load_file(entry / "00000.safetensors")["top.values"].shape[1] == 2
