"""Keys and tokens: used, and never written down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distill_lab.cli import main
from distill_lab.errors import ConfigError
from distill_lab.hydra_entry import compose
from tests.conftest import tiny

KEY = "5f0c" * 10
TOKEN = "hf_" + "Zq7" * 12


def holding(folder: Path, secret: str) -> list[str]:
    """The files below a folder that hold a secret, whatever kind of file they are."""
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(line: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["distill-lab", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_a_run_writes_none_of_them(
    known: Path,
    finetuned: Path,
    rows_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    base = [*tiny(finetuned, rows_file), "trainer.max_steps=2", "study=s"]
    assert typed(["train", *base, "logger=wandb", "logger.wandb.offline=true"], monkeypatch) == 0
    assert typed(["train", *base, "seed=2", "task.text=nothing"], monkeypatch) == 2
    assert typed(["report", "runs/s", "-o", "page.html"], monkeypatch) == 0
    assert typed(["compare", "runs/s"], monkeypatch) == 0
    said = "".join(capfd.readouterr())
    assert list(known.rglob("config.yaml")) and list(known.rglob("*.wandb"))
    for secret in (KEY, TOKEN):
        assert holding(known, secret) == [] and secret not in said


TYPED = [
    f"+logger.api_key={KEY}",
    f"+logger.wandb.settings.api_key={KEY}",
    f"++logger.wandb={{_target_: a.B, api_key: {KEY}}}",
    f"study={KEY}",
    f"+task.token={TOKEN}",
    f"teacher.model={TOKEN}",
    "+logger.x.password=hunter2",
    "+logger.api_key='${oc.env:WANDB_API_KEY}'",
    f"{KEY}",
]


@pytest.mark.parametrize("override", TYPED)
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"]])
def test_typed_ones_are_refused_before_anything_is_written(
    override: str,
    sweep: list[str],
    known: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert typed(["train", override, *sweep], monkeypatch) == 2
    said = capfd.readouterr().err
    assert "this looks like a secret" in said and "WANDB_API_KEY" in said
    assert not [secret for secret in (KEY, TOKEN, "hunter2") if secret in said]
    assert list(known.iterdir()) == []


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"]])
def test_those_of_a_file_are_refused_and_not_kept(
    sweep: list[str],
    known: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = known / "mine" / "experiments"
    folder.mkdir(parents=True)
    text = f"# @package _global_\nlogger: {{csv: {{prefix: {KEY}}}}}\n"
    (folder / "leaky.yaml").write_text(text)
    line = ["train", f"--config-dir={known}/mine", "experiments=leaky", *sweep]
    assert typed(line, monkeypatch) == 2
    said = capfd.readouterr().err
    assert "logger.csv.prefix: this looks like a secret" in said and KEY not in said
    assert holding(known, KEY) == [str(folder / "leaky.yaml")]


def test_what_only_sounds_like_one_is_none(known: Path) -> None:
    sizes = "{model_type: bert, pad_token_id: 0, num_hidden_layers: 1, eos_token_id: null}"
    assert compose(f"teacher.scratch={sizes}", "study=token", "task.name=secret").study == "token"
    with pytest.raises(ConfigError, match="looks like a secret"):
        compose(f"study=a-{KEY}")
