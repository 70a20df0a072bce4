"""Damage and change: detected, said, made again; never used silently."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from distill_lab.folders import entry_folders
from distill_lab.hydra_entry import compose
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.store import damage
from distill_lab.teachers.signal_files import SignalFiles
from tests.conftest import tiny
from tests.teachers.test_cached import losses

Go = Callable[..., Result]
FLIPS = 6  # of each file
SEED = 1
KINDS = ("teachers", "answers", "signals", "baselines", "rows")


@pytest.fixture(scope="module")
def line(encoder: Path, rows_file: Path) -> list[str]:
    """Settings of a run that keeps a teacher, its answers, its signals and a baseline."""
    quick = {"teacher.epochs=4": "teacher.epochs=1", "teacher.batch_size=8": "teacher.max_steps=8"}
    base = [quick.get(override, override) for override in tiny(encoder, rows_file)]
    return [*base, "teacher.min_over_chance=-1", "objective=hidden", "trainer.max_steps=4",
            "teacher.cache=on", "teacher.cache_dtype=float32"]  # fmt: skip


@pytest.fixture(scope="module")
def first(line: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder with such a store, and the result."""
    folder = tmp_path_factory.mktemp("filled")
    return folder, run(compose(*line, f"store_dir={folder}/store"), folder / "run")


@pytest.fixture
def filled(first: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of that store."""
    shutil.copytree(first[0] / "store", tmp_path / "store")
    return tmp_path


def entries(folder: Path) -> dict[str, Path]:
    """The entry of each kind."""
    found = {path.parent.name: path for path in entry_folders(folder / "store")}
    assert sorted(found) == sorted(KINDS)
    return found


def flip(file: Path, place: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def test_one_flipped_bit_of_any_file_is_seen(filled: Path) -> None:
    draw, seen = random.Random(SEED), 0
    for entry in entries(filled).values():
        assert damage(entry) == ""
        for file in (path for path in entry.rglob("*") if path.is_file()):
            before = file.read_bytes()
            for _ in range(FLIPS if file.name != "entry.json" and before else 0):
                place, bit = draw.randrange(len(before)), draw.randrange(8)
                flip(file, place, bit)
                name = file.relative_to(entry)
                assert damage(entry) == f"{name} has changed", (SEED, place, bit)
                file.write_bytes(before)
                seen += 1
        assert damage(entry) == ""
    assert seen > 100


def test_a_flipped_bit_of_what_is_recorded_is_seen_or_means_nothing(filled: Path) -> None:
    """Whatever the bit was, an entry that passes is that of the same ingredients and files."""
    entry = entries(filled)["answers"]
    file = entry / "entry.json"
    before, unseen = file.read_bytes(), 0
    told = json.loads(before)
    for place in range(len(before)):
        flip(file, place, place % 8)
        if not damage(entry):
            unseen += 1
            now = json.loads(file.read_bytes())
            for part in ("kind", "ingredients", "files"):
                assert now[part] == told[part], place
        file.write_bytes(before)
    assert unseen < len(before) / 4  # between the words, and the words for people


HOW = ("flip", "shorten", "delete", "add", "swap", "record", "rename")
CASES = [
    pytest.param(kind, how, marks=[] if kind == "signals" or how == "flip" else pytest.mark.slow)
    for kind in KINDS
    for how in HOW
]


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_damage_is_said_and_made_again(
    kind: str,
    how: str,
    line: list[str],
    first: tuple[Path, Result],
    filled: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry = entries(filled)[kind]
    before = {path.name: path.read_bytes() for path in entry.glob("*.safetensors")}
    draw = random.Random(f"{kind} {how}")
    file = draw.choice(sorted(entry.rglob("*.safetensors")))
    name = file.relative_to(entry).as_posix()
    told = f"{name} has changed"
    if how == "flip":
        flip(file, draw.randrange(file.stat().st_size), draw.randrange(8))
    elif how == "shorten":
        file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])
    elif how == "delete":
        file.unlink()
        told = f"{name} is missing"
    elif how == "add":  # which would be read with the others
        shutil.copy(file, file.with_name("99999.safetensors"))
        told = "99999.safetensors was added"
    elif how == "swap":  # a good file of another entry, as after a copy that went wrong
        other = {key: value + 1 for key, value in load_file(file).items()}
        save_file(other, file, {"format": "pt"})
    elif how == "record":
        text = (entry / "entry.json").read_text()
        (entry / "entry.json").write_text(re.sub(r"xxh3:(.)", r"xxh3:\1\1", text, count=1))
        told = " has changed"
    else:  # the entry of other ingredients under this name
        content = json.loads((entry / "entry.json").read_text())
        content["ingredients"]["format"] = 0
        (entry / "entry.json").write_text(json.dumps(content))
        told = "entry.json has changed"
    with caplog.at_level("WARNING", "distill_lab"):
        second = run(compose(*line, f"store_dir={filled}/store"), filled / "run")
    (said,) = (r.getMessage() for r in caplog.records if "is damaged" in r.getMessage())
    assert str(entry) in said and told in said and "it will be made again" in said
    assert second.fingerprints == first[1].fingerprints and second.metrics == first[1].metrics
    assert entries(filled)[kind] == entry and damage(entry) == ""
    assert {path.name: path.read_bytes() for path in entry.glob("*.safetensors")} == before


def changed_rows(folder: Path, rows: Path) -> None:
    """One row has the text of another: as many rows, the same ids, labels and lengths."""
    table = pd.read_csv(rows)
    train = table.index[table["label"] == "negative"]
    table.loc[train, "text"] = np.roll(table.loc[train, "text"], 1)
    table.to_csv(rows, index=False)


def changed_tokenizer(folder: Path, rows: Path) -> None:
    """Two words change places in the vocabulary: as large, other numbers."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    words = content["model"]["vocab"]
    tokens = Tokenizer.from_file(str(file)).encode("the film", add_special_tokens=False).tokens
    words[tokens[0]], words[tokens[-1]] = words[tokens[-1]], words[tokens[0]]
    file.write_text(json.dumps(content))


def changed_weights(folder: Path, rows: Path) -> None:
    """One number of the teacher's."""
    file = folder / "model.safetensors"
    state = load_file(file)
    state["classifier.bias"][0] += 1
    save_file(state, file, {"format": "pt"})


def changed_length(folder: Path, rows: Path) -> None:
    """Rows are cut shorter; the command line says so."""


def changed_side(folder: Path, rows: Path) -> None:
    """Rows, which are cut, lose their first words now."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation_side": "left"}))


@pytest.mark.parametrize(
    "change", [changed_rows, changed_tokenizer, changed_weights, changed_length, changed_side]
)
def test_changed_ingredients_are_seen_where_nothing_else_tells(
    change: Callable[[Path, Path], None],
    lab: Go,
    finetuned: Path,
    rows_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In place, under the same names: what is used afterwards is what a live teacher gives."""
    teacher, rows = tmp_path / "teacher", tmp_path / "rows.csv"
    shutil.copytree(finetuned, teacher)
    shutil.copy(rows_file, rows)
    line = [f"teacher.model={teacher}", f"task.train_file={rows}", "trainer.max_steps=8",
            "baseline=false", "teacher.min_over_chance=-1"]  # fmt: skip
    before = f"task.max_length={8 if change is changed_side else 32}"
    length = f"task.max_length={8 if change in (changed_length, changed_side) else 32}"
    lab(*line, "teacher.cache=on", before, out="first")
    change(teacher, rows)
    caplog.clear()
    with caplog.at_level("INFO", "distill_lab"):
        lab(*line, "teacher.cache=on", length, out="on")
    assert "teacher: computing its signals for" in caplog.text
    assert "signals found in the store" not in caplog.text
    lab(*line, "teacher.cache=off", length, out="off")
    first, ours, theirs = (losses(tmp_path / name) for name in ("first", "on", "off"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert not np.allclose(ours, first, rtol=1e-4)


def test_what_a_file_manager_leaves_is_neither_damage_nor_read(filled: Path) -> None:
    entry = entries(filled)["signals"]
    rows = len(SignalFiles(entry))
    (entry / ".DS_Store").write_text("x")
    save_file({"ids": torch.arange(3)}, entry / "._00000.safetensors")
    assert damage(entry) == "" and len(SignalFiles(entry)) == rows
