"""One run from end to end, on rows that take seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

from distill_lab.results import Result
from distill_lab.store import Store

Go = Callable[..., Result]


def test_run_folder_holds_what_the_contract_says(lab: Go, tmp_path: Path) -> None:
    result = lab()
    folder = tmp_path / "run"
    written = json.loads((folder / "result.json").read_text())
    assert written["status"] == "finished"
    assert set(written["metrics"]) == {"teacher", "student", "baseline"}
    assert written["metric"] == "accuracy"
    for key in ("study", "choices", "overrides", "seed", "cost", "fingerprints", "versions"):
        assert key in written
    assert written["cost"]["student"]["parameters"] < written["cost"]["teacher"]["parameters"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["objective"]["lam"] == 0.5
    assert Result.read(folder / "result.json") == result
    assert list((folder / "checkpoints").glob("*.ckpt"))
    assert not list(folder.rglob("*.tmp"))


def test_predictions_are_row_by_row(lab: Go, tmp_path: Path) -> None:
    result = lab()
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert len(table) == result.rows["evaluation"]
    assert table["id"].is_unique and table["length"].between(3, 32).all()
    for model in ("teacher", "student", "baseline"):
        accuracy = (table[model] == table["label"]).mean()
        assert accuracy == pytest.approx(result.metrics[model]["accuracy"], abs=1e-6)
        assert table[f"{model}_logits"].map(lambda row: int(row.argmax())).eq(table[model]).all()


def test_student_loads_in_transformers_and_gives_the_recorded_answers(
    lab: Go, tmp_path: Path, rows_file: Path
) -> None:
    lab()
    folder = tmp_path / "run" / "student"
    classify = pipeline("text-classification", model=str(folder))
    rows = pd.read_csv(rows_file)
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet").head(20)
    answers = classify(list(rows["text"][table["id"]]))
    assert [a["label"] for a in answers] == [("negative", "positive")[i] for i in table["student"]]
    card = (folder / "README.md").read_text()
    assert "baseline" in card and "distill-lab train" in card


def test_the_students_tokeniser_cuts_what_it_cannot_take(lab: Go, tmp_path: Path) -> None:
    """The teacher takes 64 tokens, a student made for rows of 32 no more than these."""
    lab("student=scratch", "student.sizes={model_type: bert, hidden_size: 8, num_hidden_layers: 1,"
        " num_attention_heads: 2}", "trainer.max_steps=1", "baseline=false")  # fmt: skip
    folder = str(tmp_path / "run" / "student")
    assert AutoConfig.from_pretrained(folder).max_position_embeddings == 32
    (answer,) = pipeline("text-classification", model=folder)("good " * 100, truncation=True)
    assert answer["label"] in ("negative", "positive")


def test_second_run_finds_the_baseline_and_equals_the_first(lab: Go, tmp_path: Path) -> None:
    first = lab()
    entries = sorted((tmp_path / "store" / "baselines").glob("*/entry.json"))
    stamps = [entry.stat().st_mtime_ns for entry in entries]
    second = lab(out="again")
    assert [entry.stat().st_mtime_ns for entry in entries] == stamps
    assert sorted((tmp_path / "store" / "baselines").glob("*/entry.json")) == entries
    assert second.metrics == first.metrics
    weights = [
        AutoModelForSequenceClassification.from_pretrained(tmp_path / out / "student").state_dict()
        for out in ("run", "again")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_lam_0_is_the_baseline_bit_for_bit(lab: Go, tmp_path: Path) -> None:
    result = lab("objective.lam=0", "objective.temperature=4")
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    same = [
        (a == b).all()
        for a, b in zip(table["student_logits"], table["baseline_logits"], strict=True)
    ]
    assert all(same)
    assert result.gain == 0


def test_the_teacher_changes_the_student(lab: Go, tmp_path: Path) -> None:
    lab("objective.lam=1")
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert any(
        (a != b).any()
        for a, b in zip(table["student_logits"], table["baseline_logits"], strict=True)
    )


def test_another_seed_has_its_own_baseline(lab: Go, tmp_path: Path) -> None:
    lab("seed=1", out="one")
    lab("seed=2", out="two")
    assert len(list((tmp_path / "store" / "baselines").glob("*/entry.json"))) == 2


def test_temperature_and_lam_share_a_baseline(lab: Go, tmp_path: Path) -> None:
    lab("objective.temperature=1", "objective.lam=0.9", out="one")
    lab("objective.temperature=8", "objective.lam=0.1", out="two")
    assert len(list((tmp_path / "store" / "baselines").glob("*/entry.json"))) == 1


def test_a_damaged_baseline_is_made_again(
    lab: Go, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = lab()
    damaged = next((tmp_path / "store" / "baselines").glob("*/answers.safetensors"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    second = lab(out="again")
    assert "is damaged" in caplog.text
    assert second.metrics == first.metrics


def test_without_baseline(lab: Go) -> None:
    result = lab("baseline=false")
    assert set(result.metrics) == {"teacher", "student"}
    assert result.gain is None


def test_interrupted_run_leaves_no_result(
    lab: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor that of a run before it in the same folder."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    lab("seed=2")
    monkeypatch.setattr("distill_lab.run.train_baseline", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab()
    assert (tmp_path / "run" / "config.yaml").is_file()
    assert not list((tmp_path / "run").glob("*result.json*"))


def test_the_metric_that_chooses_the_epoch_is_that_of_teacher_and_baseline(
    lab: Go, tmp_path: Path, encoder: Path
) -> None:
    for name, metrics in (("one", "accuracy,f1_macro"), ("two", "f1_macro,accuracy")):
        lab(f"teacher.model={encoder}", f"task.metrics=[{metrics}]", "teacher.epochs=1",
            "teacher.min_over_chance=-1", "trainer.max_steps=2", out=name)  # fmt: skip
    for kind in ("teachers", "baselines"):
        assert len(list((tmp_path / "store" / kind).glob("*/entry.json"))) == 2, kind


def test_checkpoints_of_an_earlier_try_do_not_stay(lab: Go, tmp_path: Path) -> None:
    for seed in (1, 2):
        lab(f"seed={seed}", "baseline=false")
    files = list((tmp_path / "run" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["best.ckpt"]


def test_teacher_is_fine_tuned_once(
    lab: Go, tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab(f"teacher.model={encoder}", out="one")
    teachers = list((tmp_path / "store" / "teachers").glob("*/entry.json"))
    assert len(teachers) == 1
    lab(f"teacher.model={encoder}", "objective.temperature=2", "optim.lr=1e-4", out="two")
    assert list((tmp_path / "store" / "teachers").glob("*/entry.json")) == teachers
    lab(f"teacher.model={encoder}", "teacher.lr=1e-3", out="three")
    assert len(list((tmp_path / "store" / "teachers").glob("*/entry.json"))) == 2


def test_teacher_is_unchanged_frozen_and_in_no_checkpoint(
    lab: Go, tmp_path: Path, finetuned: Path
) -> None:
    before = (finetuned / "model.safetensors").read_bytes()
    lab()
    assert (finetuned / "model.safetensors").read_bytes() == before
    state = torch.load(next((tmp_path / "run" / "checkpoints").iterdir()), weights_only=True)
    teacher = AutoModelForSequenceClassification.from_pretrained(finetuned)
    layers = {name.split("layer.")[1][0] for name in state["state_dict"] if "layer." in name}
    assert len(layers) == 2 < teacher.config.num_hidden_layers
    assert not any("source" in name or "teacher" in name for name in state["state_dict"])


def test_half_precision_weights_are_trained_in_float32(
    lab: Go, tmp_path: Path, finetuned: Path
) -> None:
    half = tmp_path / "half"
    model = AutoModelForSequenceClassification.from_pretrained(finetuned).half()
    model.save_pretrained(half)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (half / name).write_bytes((finetuned / name).read_bytes())
    lab(f"teacher.model={half}")
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "student")
    assert {p.dtype for p in student.parameters()} == {torch.float32}


def test_runs_write_only_to_their_folder_and_the_store(lab: Go, tmp_path: Path) -> None:
    lab()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "store"}


def test_store_entries_are_sealed(lab: Go, tmp_path: Path) -> None:
    lab()
    store = Store(tmp_path / "store")
    entries = list(store.root.glob("*/*/entry.json"))
    assert {entry.parents[1].name for entry in entries} == {
        "answers",
        "baselines",
        "rows",
        "signals",
    }
