"""Faulty configurations and files without end: one sentence, or it works; never anything else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from distill_lab.cli import main
from tests.battery import VALUES, Outcome, composed, damaged, judged, keys, put, started, store_of
from tests.battery_bases import OBJECTIVES, Base, bases

NAMES = [
    "rows",
    "numbers",
    "glue",
    "squad",
    "causal",
    "masked",
    "mnist",
    "pictures",
    "narrow",
    "scratch",
    "int8",
    "pretrained",
    "ensemble",
    "encoder",
    "tensorboard",
    "wandb",
    "prompts of jsonl",
    *OBJECTIVES,
]
FILES = [
    "rows",
    "rows of tsv",
    "rows of jsonl",
    "rows of parquet",
    "numbers",
    "glue",
    "squad",
    "causal",
    "parquet",
    "mnist",
    "mnist unpacked",
    "pictures",
    "prompts of jsonl",
    "prompts of csv",
]
MODEL = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
SOME = 150  # cases of all bases but the first, so that they take no more than two minutes


@pytest.fixture(scope="module")
def all_bases(
    tmp_path_factory: pytest.TempPathFactory, finetuned: Path, encoder: Path
) -> dict[str, Base]:
    return bases(tmp_path_factory.mktemp("battery"), finetuned, encoder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def cases(all_bases: dict[str, Base], names: list[str]) -> list[tuple[str, str, str]]:
    """Base, key, value."""
    return [
        (name, key, value)
        for name in names
        for key in keys(composed(all_bases[name].line), all_bases[name].groups)
        for value in VALUES
    ]


def tried(all_bases: dict[str, Base], chosen: list[tuple[str, str, str]], here: Path) -> Outcome:
    """Let cases run, one after the other, in one store."""
    outcome, configs = Outcome(), {name: composed(all_bases[name].line) for name, _, _ in chosen}
    for number, (name, config) in enumerate(configs.items()):
        folder = here / "runs" / f"whole-{number}"
        judged(lambda c=config, f=folder: started(c, f), f"{name}, as it is", outcome)
    assert outcome.worked == len(configs), "\n".join([*outcome.faults, *outcome.said])
    before = store_of(here / "store")
    for number, (name, key, value) in enumerate(chosen):
        changed, folder = put(configs[name], key, VALUES[value]), here / "runs" / str(number)
        told = f"{name}: {key} = {value}"
        judged(lambda c=changed, f=folder: started(c, f), told, outcome)
        shutil.rmtree(folder, ignore_errors=True)
    after = store_of(here / "store")
    assert {path: after.get(path) for path in before} == before
    stray = {path.name for path in (here.parent.parent / "etc", here.parent / "etc")}
    assert not stray & set(os.listdir(here.parent.parent)) | (stray & set(os.listdir(here.parent)))
    return outcome


def told(outcome: Outcome) -> str:
    return "\n\n".join([f"{len(outcome.faults)} of {outcome.cases}", *outcome.faults])


def test_every_key_of_a_run(all_bases: dict[str, Base], here: Path) -> None:
    """Each key with two values, drawn by a seed."""
    random, every = np.random.default_rng(7), cases(all_bases, ["rows"])
    by_key = {key: [c for c in every if c[1] == key] for _, key, _ in every}
    some = [cs[i] for cs in by_key.values() for i in random.choice(len(cs), 2, replace=False)]
    outcome = tried(all_bases, some, here)
    assert not outcome.faults, told(outcome)
    assert outcome.refused > 60 and outcome.worked > 20


def test_keys_of_other_runs(all_bases: dict[str, Base], here: Path) -> None:
    names = [name for name in NAMES[1:] if name != "wandb"]  # which takes seconds to start
    random, every = np.random.default_rng(7), cases(all_bases, names)
    some = [every[i] for i in sorted(random.choice(len(every), SOME, replace=False))]
    outcome = tried(all_bases, some, here)
    assert not outcome.faults, told(outcome)
    assert outcome.refused > 60 and outcome.worked > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_every_key(name: str, all_bases: dict[str, Base], here: Path) -> None:
    outcome = tried(all_bases, cases(all_bases, [name]), here)
    print(name, outcome.cases, outcome.refused, outcome.worked)
    assert not outcome.faults, told(outcome)


def test_typed_lines(
    all_bases: dict[str, Base],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same through the command line and Hydra, which has faults of its own to tell."""
    base = all_bases["rows"]
    random, every = np.random.default_rng(3), cases(all_bases, ["rows"])
    every = [case for case in every if case[2] not in ("nul", "surrogate", "long")]
    for number, at in enumerate(random.choice(len(every), 25, replace=False)):
        _, key, name = every[at]
        value = OmegaConf.to_yaml(OmegaConf.create({"a": VALUES[name]}), resolve=False)
        value = "null" if VALUES[name] is None else value[3:].strip().replace("\n", "")
        value = value if isinstance(VALUES[name], str | int | float | None) else str(VALUES[name])
        line = ["train", *base.line, f"{key}={value}", f"hydra.run.dir=typed/{number}"]
        monkeypatch.setattr(sys, "argv", ["distill-lab", *line])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr().err
        assert ended.value.code in (0, 2) and "Traceback" not in said, (line, said)
        results = list(here.glob(f"typed/{number}/result.json"))
        assert bool(results) == (ended.value.code == 0), (line, said)
        assert ended.value.code == 0 or "distill-lab: " in said, (line, said)


def spoilt(
    base: Base, path: Path, how: list[str] | None, count: int, here: Path, seed: int = 0
) -> Outcome:
    """Let a run read a file that is spoilt in some ways."""
    random, whole = np.random.default_rng(seed), path.read_bytes()
    ways = damaged(whole, random)
    chosen = how or random.choice(sorted(ways), min(count, len(ways)), replace=False).tolist()
    outcome, config = Outcome(), composed(base.line)
    before = store_of(here / "store")
    try:
        for number, name in enumerate(chosen):
            path.write_bytes(ways[name])
            folder = here / "runs" / f"{path.name}-{number}"
            judged(lambda f=folder: started(config, f), f"{path.name}: {name}", outcome)
    finally:
        path.write_bytes(whole)
    after = store_of(here / "store")
    assert {key: after.get(key) for key in before} == before
    return outcome


ALWAYS = ["empty", "binary", "deep list"]


@pytest.mark.parametrize("name", FILES)
def test_spoilt_files(name: str, all_bases: dict[str, Base], here: Path) -> None:
    for path in all_bases[name].files:
        outcome = spoilt(all_bases[name], path, None, 3, here)
        assert not outcome.faults, told(outcome)


def test_files_that_are_no_such_files(all_bases: dict[str, Base], here: Path) -> None:
    for name in FILES:
        outcome = spoilt(all_bases[name], all_bases[name].files[0], ALWAYS, 0, here)
        assert not outcome.faults, told(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_files_spoilt_in_all_ways(name: str, all_bases: dict[str, Base], here: Path) -> None:
    for path in all_bases[name].files:
        for seed in (1, 2):
            outcome = spoilt(all_bases[name], path, None, 99, here, seed)
            print(name, path.name, outcome.cases, outcome.refused, outcome.worked)
            assert not outcome.faults, told(outcome)


def model_of(finetuned: Path, here: Path) -> Path:
    folder = here / "model"
    shutil.copytree(finetuned, folder)
    return folder


def as_teacher(base: Base, folder: Path) -> Base:
    return Base([*base.line, f"teacher.model={folder}"], ())


@pytest.mark.parametrize("file", MODEL)
def test_spoilt_models(file: str, all_bases: dict[str, Base], here: Path, finetuned: Path) -> None:
    folder = model_of(finetuned, here)
    outcome = spoilt(as_teacher(all_bases["rows"], folder), folder / file, None, 4, here)
    assert not outcome.faults, told(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("file", MODEL)
def test_models_spoilt_in_all_ways(
    file: str, role: str, all_bases: dict[str, Base], here: Path, finetuned: Path
) -> None:
    folder = model_of(finetuned, here)
    teacher = as_teacher(all_bases["rows"], folder)
    student = Base([*all_bases["pretrained"].line, f"student.model={folder}"], ())
    for seed in (1, 2):
        base = teacher if role == "teacher" else student
        outcome = spoilt(base, folder / file, None, 99, here, seed)
        print(role, file, outcome.cases, outcome.refused, outcome.worked)
        assert not outcome.faults, told(outcome)
