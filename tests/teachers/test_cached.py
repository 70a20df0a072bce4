"""A teacher that is computed once teaches as one that runs for every batch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill_lab.errors import ConfigError, ModelError
from distill_lab.results import Result
from distill_lab.store import file_digest
from distill_lab.tasks.batching import scoring_batches, training_batches
from distill_lab.tasks.tokens import TokenRows
from distill_lab.teachers import Live
from distill_lab.teachers.signal_check import check_signals, say_where
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.types import Batch, Outputs, Wanted
from tests.stacks import SIZES, stack

Go = Callable[..., Result]
CPU = torch.device("cpu")
INSIDE = Wanted((0, 2, 4), (1, 4))
OTHERS = ("modernbert", "megatron-bert")  # a sliding window; attention that cannot be caught


def rows(count: int = 40, longest: int = 12) -> TokenRows:
    """Rows of random tokens, with ids that are not their places."""
    random = np.random.default_rng(0)
    lengths = random.integers(2, longest, count)
    tokens = random.integers(1, 50, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.permutation(1000)[:count]
    return TokenRows(ids, ids % 3, {"input_ids": tokens}, offsets, {"input_ids": 0})


def written(folder: Path, kind: str, wanted: Wanted, dtype: torch.dtype) -> tuple[Live, TokenRows]:
    teacher, given = Live(lambda: stack(kind), "teacher", "", ""), rows()
    writer = SignalWriter(folder, wanted, dtype)
    for batch in scoring_batches(given, 8):
        writer.add(batch, teacher.signals(batch, wanted))
    writer.flush()
    return teacher, given


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind not in OTHERS])
def test_shuffled_batches_get_what_the_live_teacher_gives(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill_lab.teachers.signal_files.FILE_BYTES", 10_000)
    teacher, given = written(tmp_path, kind, INSIDE, torch.float32)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    files = SignalFiles(tmp_path)
    assert len(files) == 40
    for batch in training_batches(given, 8, seed=3):
        ours, theirs = files.signals(batch, INSIDE), teacher.signals(batch, INSIDE)
        tokens = batch.mask.bool()
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-5, atol=1e-5)
        for layer in INSIDE.hidden_states:
            a, b = (side.hidden_states[layer][tokens] for side in (ours, theirs))
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        pairs = tokens[:, None, :, None] & tokens[:, None, None, :]
        for layer in INSIDE.attention:
            for name in ("queries", "keys", "values"):
                a, b = (
                    getattr(side.attention[layer], name).transpose(1, 2)[tokens]
                    for side in (ours, theirs)
                )
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
            sees = [
                pairs if side.attention[layer].allowed is None
                else pairs & side.attention[layer].allowed
                for side in (ours, theirs)
            ]  # fmt: skip
            assert torch.equal(*sees)
            assert ours.attention[layer].scale == theirs.attention[layer].scale


def test_bfloat16_halves_what_tokens_take(tmp_path: Path) -> None:
    sizes = {}
    for name in ("float32", "bfloat16"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, "bert", INSIDE, getattr(torch, name))
        file = load_file(tmp_path / name / "00000.safetensors")
        sizes[name] = sum(value.nbytes for key, value in file.items() if "." in key)
    assert sizes["float32"] == 2 * sizes["bfloat16"] > 0


def test_a_row_that_was_never_written_is_told(tmp_path: Path) -> None:
    _, given = written(tmp_path, "bert", Wanted(), torch.float32)
    batch = given.__getitems__([0, 1])
    batch.ids = batch.ids + 1000
    with pytest.raises(KeyError, match="is not among the stored signals"):
        SignalFiles(tmp_path).signals(batch, Wanted())


def test_padding_is_zero_and_every_token_has_its_own(tmp_path: Path) -> None:
    _, given = written(tmp_path, "bert", INSIDE, torch.float32)
    files, batch = SignalFiles(tmp_path), given.__getitems__([0, 1, 2, 3])
    padding = batch.mask == 0
    assert padding.any()
    found = files.signals(batch, INSIDE)
    assert not found.hidden_states[2][padding].any()
    assert not found.attention[1].keys.transpose(1, 2)[padding].any()
    batch.inputs["attention_mask"] = batch.mask.clone().index_fill_(1, torch.tensor([1]), 0)
    with pytest.raises(ValueError, match="tokens are stored of rows that have"):
        files.signals(batch, INSIDE)


def test_signals_of_half_precision_are_checked_as_such(tmp_path: Path) -> None:
    teacher, given = written(tmp_path, "bert", Wanted(), torch.float32)
    say_where(tmp_path, CPU)
    files, real = SignalFiles(tmp_path), teacher.signals

    def rounded(batch: Batch, wanted: Wanted) -> Outputs:
        given = real(batch, wanted)
        return replace(given, logits=given.logits + 0.01)

    teacher.signals = rounded  # type: ignore[method-assign]
    check_signals(files, tmp_path, teacher, given, Wanted(), CPU, "bf16")
    with pytest.raises(ModelError, match="holds logits that differ"):
        check_signals(files, tmp_path, teacher, given, Wanted(), CPU)


def losses(folder: Path) -> pd.DataFrame:
    """What was logged of each step of the student's training."""
    table = pd.read_csv(folder / "metrics.csv")
    return table[[c for c in table if c.startswith("train/")]].dropna(how="all")


@pytest.mark.parametrize(
    "objective",
    [
        ["objective=hinton"],
        ["objective=hidden"],
        ["objective=minilm_v2", "objective.relation_heads=4"],
        ["objective=tinybert"],
        ["objective=hinton", "trainer.accumulate_grad_batches=2"],
        ["objective=pkd", "trainer.accumulate_grad_batches=2"],
        ["objective=minilm", "trainer.accumulate_grad_batches=2"],
    ],
    ids=["hinton", "hidden", "minilm_v2", "tinybert", "hinton_2", "pkd_2", "minilm_2"],
)
def test_cache_on_is_cache_off(
    objective: list[str], lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a whole shuffled epoch, from several files, at every step of the optimizer."""
    monkeypatch.setattr("distill_lab.teachers.signal_files.FILE_BYTES", 4_000)
    line = [*objective, "trainer.log_every_n_steps=1", "teacher.cache_dtype=float32",
            "baseline=false"]  # fmt: skip
    off = lab(*line, "teacher.cache=off", out="off")
    on = lab(*line, "teacher.cache=on", out="on")
    again = lab(*line, "teacher.cache=on", out="again")
    (entry,) = (tmp_path / "store" / "signals").glob("*/entry.json")
    assert len(list(entry.parent.glob("*.safetensors"))) > 1
    ours, theirs, second = (losses(tmp_path / name) for name in ("on", "off", "again"))
    batches = math.ceil(on.rows["train"] / on.config["optim"]["batch_size"])
    together = on.config["trainer"].get("accumulate_grad_batches", 1)
    assert len(ours) == math.ceil(batches / together) * on.config["trainer"]["max_epochs"] > 5
    assert "train/loss" in ours
    for column in ours:
        # A weighted term is a raw one times its weight, rounding and all.
        raw = ours[column.removesuffix("_weighted")]
        weight = np.nanmax(np.abs(ours[column] / raw)) if raw.any() else 1.0
        np.testing.assert_allclose(
            ours[column], theirs[column], rtol=1e-5, atol=1e-7 * max(weight, 1.0)
        )
    pd.testing.assert_frame_equal(second, ours, check_exact=True)
    assert on.fingerprints["student"] == again.fingerprints["student"]
    assert on.metrics["teacher"] == off.metrics["teacher"]


def test_with_full_store_the_network_is_never_loaded(
    lab: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that takes nothing of the teacher's needs only what is stored."""
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    line = ["student=scratch", *(f"student.sizes.{key}={value}" for key, value in sizes.items())]
    first = lab(*line, out="first")
    assert first.parameters("teacher") > 0

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the teacher's network was loaded")

    monkeypatch.setattr("distill_lab.teachers.finetuned.load_model", loaded)
    second = lab(*line, "objective.temperature=2", out="second")
    assert second.parameters("teacher") == first.parameters("teacher")
    assert second.metrics["teacher"] == first.metrics["teacher"]


def test_kept_signals_are_computed_in_the_precision_of_the_training(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = Live.signals

    def spied(self: Live, batch: Batch, wanted: Wanted) -> Outputs:
        seen.append(torch.is_autocast_enabled("cpu"))
        return real(self, batch, wanted)

    monkeypatch.setattr(Live, "signals", spied)
    line = ["teacher.cache=on", "trainer.max_steps=1", "baseline=false"]
    for precision, mixed in (("32-true", False), ("bf16-mixed", True)):
        lab(*line, f"trainer.precision={precision}", out=precision)
        assert set(seen) == {mixed}
        seen.clear()
    assert len(list((tmp_path / "store" / "signals").glob("*/entry.json"))) == 2


def test_a_short_training_keeps_nothing_unless_asked(lab: Go, tmp_path: Path) -> None:
    lab("trainer.max_steps=1", out="short")
    assert not (tmp_path / "store" / "signals").exists()
    lab("trainer.max_steps=1", "teacher.cache=on", out="asked")
    assert len(list((tmp_path / "store" / "signals").glob("*/entry.json"))) == 1


def test_what_the_disk_has_no_room_for_is_live(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("distill_lab.teachers.cached.free_bytes", lambda _: 1000)
    with caplog.at_level("INFO", "distill_lab"):
        lab("baseline=false")
    assert "teacher: runs for every batch; its signals would take" in caplog.text
    assert f"and 1 kB are free at {tmp_path}/store/signals" in caplog.text
    assert not (tmp_path / "store" / "signals").exists()


def test_what_is_too_large_is_refused_or_live(lab: Go, tmp_path: Path) -> None:
    line = ["objective=hidden", "teacher.cache_max_gb=1e-6"]
    with pytest.raises(ConfigError, match=r"teacher.cache=on: the signals of \d+ rows take"):
        lab(*line, "teacher.cache=on")
    lab(*line, "baseline=false", out="auto")
    assert not (tmp_path / "store" / "signals").exists()


def test_stored_signals_of_another_teacher_are_told(lab: Go, tmp_path: Path) -> None:
    """As a changed library would do, which no fingerprint sees."""
    lab("baseline=false", out="first")
    (file,) = (tmp_path / "store" / "signals").glob("*/*.safetensors")
    content = load_file(file)
    save_file({**content, "logits": content["logits"] + 0.5}, file)
    entry = json.loads((file.parent / "entry.json").read_text())
    entry["files"][file.name] = file_digest(file)
    (file.parent / "entry.json").write_text(json.dumps(entry))
    with pytest.raises(ModelError, match=r"holds logits that differ from the teacher's by 0\.5"):
        lab("baseline=false", out="second")


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_told_and_mended(
    damage: str, lab: Go, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = lab("baseline=false", out="first")
    (file,) = (tmp_path / "store" / "signals").glob("*/*.safetensors")
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    else:
        content[-1] ^= 1
        file.write_bytes(content if damage == "flip" else content[:-1])
    with caplog.at_level("WARNING"):
        second = lab("baseline=false", out="second")
    assert "is damaged" in caplog.text
    assert second.fingerprints["student"] == first.fingerprints["student"]


def test_a_sliding_window_is_not_kept(tmp_path: Path) -> None:
    teacher = Live(lambda: stack("modernbert", local_attention=4), "teacher", "", "")
    (batch,) = scoring_batches(rows(8, longest=30), 8)
    writer = SignalWriter(tmp_path, Wanted((), (2,)), torch.float32)
    with pytest.raises(NotImplementedError, match="neither all tokens nor those to the left"):
        writer.add(batch, teacher.signals(batch, Wanted((), (2,))))


@pytest.mark.parametrize(
    ("first", "second", "entries"),
    [
        ("", "objective.temperature=2", 1),
        ("", "objective.lam=0.9", 1),
        ("", "seed=2", 1),
        ("", "student.num_layers=1", 1),
        ("", "objective=reverse_kl", 1),
        ("", "teacher.cache_dtype=bfloat16", 1),
        ("objective=hidden", "objective=hidden teacher.cache_dtype=bfloat16", 2),
        ("", "objective=hidden", 2),
        ("", "task.max_length=16", 2),
        ("", "task.selection=0.3", 2),
        ("", "teacher.model=ENCODER", 2),
    ],
)
def test_one_entry_serves_what_does_not_change_it(
    first: str, second: str, entries: int, lab: Go, tmp_path: Path, encoder: Path
) -> None:
    line = ["baseline=false", "trainer.max_steps=1", "teacher.epochs=2", "teacher.cache=on",
            "teacher.cache_dtype=float32"]  # fmt: skip
    lab(*line, *first.split(), out="first")
    lab(*line, *second.replace("ENCODER", str(encoder)).split(), out="second")
    assert len(list((tmp_path / "store" / "signals").glob("*/entry.json"))) == entries
