"""GLUE from real files in the official layout: one short epoch each, metrics checked by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics

from distill_lab.config import build
from distill_lab.hydra_entry import compose
from distill_lab.run import run

FOLDERS = {
    "cola": "CoLA", "mrpc": "MRPC", "rte": "RTE", "sst2": "SST-2", "stsb": "STS-B", "wnli": "WNLI",
}  # fmt: skip
ROWS = {
    "cola": (8551, 1043), "mrpc": (3668, 408), "rte": (2490, 277), "sst2": (67349, 872),
    "stsb": (5749, 1500), "wnli": (635, 71),
}  # fmt: skip
REFERENCES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": sklearn.metrics.f1_score,
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda y, p: scipy.stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: scipy.stats.spearmanr(y, p).statistic,
}
METRICS = {"cola": "matthews", "mrpc": "accuracy", "stsb": "pearson"}


@pytest.mark.parametrize("name", FOLDERS)
def test_one_short_epoch(name: str, shared: Path, tmp_path: Path) -> None:
    config = compose(
        f"task=glue/{name}",
        f"task.data_dir={shared}/data/glue/{FOLDERS[name]}",
        "task.max_length=24",
        "teacher.model=null",
        "teacher.max_steps=2",
        "teacher.min_over_chance=-1",
        "teacher.scratch={model_type: bert, num_hidden_layers: 2, hidden_size: 16,"
        " num_attention_heads: 2, intermediate_size: 32}",
        "teacher.vocab_size=800",
        "student=layers",
        "student.num_layers=1",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=3",
        "trainer.accelerator=cpu",
        f"store_dir={tmp_path}/store",
    )
    result = run(config, tmp_path / "run")
    assert result.metric == METRICS.get(name, "accuracy")
    train, evaluation = ROWS[name]
    assert result.rows["train"] + result.rows["selection"] == train
    assert result.rows["evaluation"] == evaluation
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    for model in ("teacher", "student", "baseline"):
        for metric, value in result.metrics[model].items():
            expected = REFERENCES[metric](table["label"], table[model])
            assert value == pytest.approx(np.nan_to_num(expected), abs=1e-5), (model, metric)


def test_texts_are_those_of_the_files(shared: Path) -> None:
    mrpc = _load("mrpc", shared)
    assert mrpc.evaluation["evaluation"].text[0].startswith("He said the foodservice pie")
    assert mrpc.evaluation["evaluation"].pair[0].startswith('" The foodservice pie')
    cola = _load("cola", shared)
    assert cola.evaluation["evaluation"].text[0].startswith("The sailors rode the breeze")
    stsb = _load("stsb", shared)
    assert stsb.evaluation["evaluation"].labels[1] == pytest.approx(4.75)
    rte = _load("rte", shared)
    assert rte.evaluation["evaluation"].labels[:2].tolist() == [1, 0]


def _load(name: str, shared: Path):  # type: ignore[no-untyped-def]
    data_dir = f"task.data_dir={shared}/data/glue/{FOLDERS[name]}"
    return build(compose(f"task=glue/{name}", data_dir).task).load()


def test_a_real_encoder_stored_in_half_precision_is_trained_in_float32(
    shared: Path, tmp_path: Path
) -> None:
    config = compose(
        "task=glue/wnli",
        f"task.data_dir={shared}/data/glue/WNLI",
        f"teacher.model={shared}/models/minilm-l6-h384",
        "teacher.max_steps=2",
        "teacher.min_over_chance=-1",
        "student=layers_3",
        "trainer.max_steps=2",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        f"store_dir={tmp_path}/store",
    )
    result = run(config, tmp_path / "run")
    assert result.cost["teacher"]["parameters"] == 22_713_986
    assert result.cost["student"]["parameters"] < result.cost["teacher"]["parameters"]
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert np.isfinite(curves["train/loss"].dropna()).all()


def test_mnli_reports_matched_and_mismatched(tmp_path: Path) -> None:
    labels = ("entailment", "neutral", "contradiction")
    for split, count in (("train", 60), ("dev_matched", 12), ("dev_mismatched", 9)):
        rows = [f"{i}\tpremise {i}\thypothesis {i}\tx\t{labels[i % 3]}" for i in range(count)]
        text = "\n".join(["index\tsentence1\tsentence2\tlabel1\tgold_label", *rows]) + "\n"
        (tmp_path / f"{split}.tsv").write_text(text)
    config = compose(
        "task=glue/mnli", f"task.data_dir={tmp_path}", "task.selection=0.2",
        "teacher.model=null", "teacher.max_steps=1", "teacher.min_over_chance=-1",
        "teacher.vocab_size=300", "student=layers", "student.num_layers=1",
        "teacher.scratch={model_type: bert, num_hidden_layers: 2, hidden_size: 16,"
        " num_attention_heads: 2, intermediate_size: 32}",
        "trainer.max_steps=1", "trainer.accelerator=cpu", f"store_dir={tmp_path}/store",
    )  # fmt: skip
    result = run(config, tmp_path / "run")
    assert set(result.metrics["student"]) == {"accuracy", "accuracy_mismatched"}
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    for split, name in (("evaluation", "accuracy"), ("mismatched", "accuracy_mismatched")):
        part = table[table["split"] == split]
        accuracy = (part["student"] == part["label"]).mean()
        assert result.metrics["student"][name] == pytest.approx(accuracy)
    assert result.rows["mismatched"] == 9
