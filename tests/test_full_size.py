"""The studies of full size: 20 steps of networks as large as the real ones, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

from distill_lab.hydra_entry import compose
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.tasks.corpus import Corpus
from distill_lab.tasks.vocabulary import train_tokenizer
from tests.conftest import sentences
from tests.tasks.squad_files import folder as squad_folder
from tests.tasks.test_language import text

pytestmark = pytest.mark.slow

STEPS = 20
# With heads of the task; the names' weights are as many.
MILLIONS = {
    "bert_12": 109.5, "bert_6": 67.0, "bert_3": 45.7, "distilbert": 67.0, "gpt2": 124.4,
    "gpt2_6": 81.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full_size")


@pytest.fixture(scope="module")
def models(work: Path) -> Callable[[str], Path]:
    """Folders of networks of the sizes that the names stand for; a tokeniser of fewer words."""

    def of(name: str) -> Path:
        folder = work / name
        if folder.is_dir():
            return folder
        file = work / "words.txt"
        file.write_text(text(400, 1))
        torch.manual_seed(0)
        framed = name != "gpt2"
        tokenizer = train_tokenizer(Corpus((file,)), 400, 512 if framed else 1024, framed=framed)
        made = {
            "bert": lambda: BertModel(BertConfig()),
            "distilbert": lambda: DistilBertModel(DistilBertConfig()),
            "gpt2": lambda: GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0)),
        }[name]()
        made.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return of


@pytest.fixture
def study(work: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Run some steps of one job of a study; return millions of weights by model."""

    def go(name: str, *overrides: str) -> dict[str, float]:
        config = compose(
            f"experiments={name}", *overrides, "optim.batch_size=2", "teacher.batch_size=2",
            f"trainer.max_steps={STEPS}", f"teacher.max_steps={STEPS}", "trainer.accelerator=cpu",
            "teacher.min_over_chance=-1", "trainer.log_every_n_steps=1",
            f"store_dir={tmp_path}/store",
        )  # fmt: skip
        result: Result = run(config, tmp_path / "run")
        curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
        assert curves["step"].max() == STEPS - 1
        assert curves["train/loss"].dropna().map(lambda loss: 0 < loss < 1e4).all()
        assert {"teacher", "student", "baseline"} <= result.metrics.keys()
        return {name: round(cost["parameters"] / 1e6, 1) for name, cost in result.cost.items()}  # type: ignore[operator]

    return go


def sst2(work: Path) -> Path:
    folder = work / "SST-2"
    folder.mkdir(exist_ok=True)
    for part, count in (("train", 120), ("dev", 20)):
        rows = sentences(count, len(part))
        table = pd.DataFrame(
            {"sentence": rows.text, "label": (rows.label == "positive").astype(int)}
        )
        table.to_csv(folder / f"{part}.tsv", sep="\t", index=False)
    return folder


@pytest.mark.parametrize("student", ["layers_6", "distilbert"])
def test_distilbert_glue(
    student: str, study: Callable[..., dict[str, float]], models: Callable[[str], Path], work: Path
) -> None:
    theirs = [f"student.model={models('distilbert')}"] if student == "distilbert" else []
    found = study(
        "distilbert_glue", f"task.data_dir={sst2(work)}", f"teacher.model={models('bert')}",
        f"student={student}", *theirs,
    )  # fmt: skip
    own = MILLIONS["distilbert" if theirs else "bert_6"]
    assert found == {"teacher": MILLIONS["bert_12"], "student": own, "baseline": own}


@pytest.mark.parametrize("layers", [12, 6, 3])
def test_bert_6_vs_12(
    layers: int, study: Callable[..., dict[str, float]], models: Callable[[str], Path], work: Path
) -> None:
    found = study(
        "bert_6_vs_12", "task=glue/sst2", f"task.data_dir={sst2(work)}",
        f"teacher.model={models('bert')}", f"student=layers_{layers}",
    )  # fmt: skip
    own = MILLIONS[f"bert_{layers}"]
    assert found == {"teacher": MILLIONS["bert_12"], "student": own, "baseline": own}


def test_distilbert_squad(
    study: Callable[..., dict[str, float]], models: Callable[[str], Path], work: Path
) -> None:
    folder = work / "squad"
    folder.mkdir(exist_ok=True)
    squad_folder(folder)
    found = study(
        "distilbert_squad", f"task.data_dir={folder}",
        "task.files={train: train.json, evaluation: dev.json}",
        f"teacher.model={models('bert')}", f"student.model={models('distilbert')}",
    )  # fmt: skip
    assert 108 < found["teacher"] < 110 and 66 < found["student"] == found["baseline"] < 67


@pytest.mark.parametrize("objective", ["distilbert", "hinton"])
def test_distilgpt2_wikitext103(
    objective: str,
    study: Callable[..., dict[str, float]],
    models: Callable[[str], Path],
    work: Path,
) -> None:
    for part, lines in (("train", 900), ("test", 60)):
        (work / f"{part}.txt").write_text(text(lines, len(part)))
    found = study(
        "distilgpt2_wikitext103", f"task.train={work}/train.txt",
        f"task.evaluation={work}/test.txt", "task.max_length=128", "task.stride=64",
        "trainer.accumulate_grad_batches=1", f"teacher.model={models('gpt2')}",
        f"objective={objective}",
    )  # fmt: skip
    assert found == {
        "teacher": MILLIONS["gpt2"], "student": MILLIONS["gpt2_6"], "baseline": MILLIONS["gpt2_6"]
    }  # fmt: skip
