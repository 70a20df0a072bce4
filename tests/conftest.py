"""Tiny offline models and rows that all tests share."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from distill_lab.config import Config
from distill_lab.hydra_entry import compose
from distill_lab.new_models import new_model
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.tasks.rows import Rows
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.types import Problem

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = {
    "model_type": "bert",
    "num_hidden_layers": 4,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.05,
}
GOOD = ["good", "great", "fine", "lovely", "superb"]
BAD = ["bad", "poor", "awful", "dull", "dreadful"]
FILLER = [
    "the",
    "film",
    "was",
    "quite",
    "a",
    "long",
    "story",
    "about",
    "two",
    "people",
    "and",
    "their",
    "old",
    "house",
    "by",
    "sea",
]


def sentences(count: int, seed: int = 0) -> pd.DataFrame:
    """Rows whose label is told by one word; lengths vary."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = int(random.integers(2))
        words = list(random.choice(FILLER, random.integers(3, 15)))
        words.insert(int(random.integers(len(words))), str(random.choice((BAD, GOOD)[label])))
        rows.append({"text": " ".join(words), "label": ("negative", "positive")[label]})
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 600 rows that a tiny model learns in seconds."""
    path = tmp_path_factory.mktemp("rows") / "reviews.csv"
    sentences(600).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT with random weights and a tokeniser; no head."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    text = [" ".join(FILLER), " ".join(GOOD), " ".join(BAD)] * 5
    rows = Rows(np.arange(len(text)), text, None, np.zeros(len(text), dtype=np.int64))
    tokenizer = train_tokenizer(rows, 400, 64)
    torch.manual_seed(0)
    problem = Problem("classification", ("a", "b"))
    model = new_model(TINY, tokenizer, 64, problem, "tests")
    model.bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory: pytest.TempPathFactory, encoder: Path, rows_file: Path) -> Path:
    """A folder with the encoder, fine-tuned on the rows by the lab itself."""
    work = tmp_path_factory.mktemp("finetuned")
    config = compose(*tiny(encoder, rows_file), f"store_dir={work}/store", "trainer.max_steps=1")
    run(config, work / "run")
    return next((work / "store" / "teachers").glob("*/config.json")).parent


def tiny(model: Path, rows: Path) -> list[str]:
    """Overrides of a run that takes seconds."""
    return [
        "task=text_classification",
        f"task.train_file={rows}",
        "task.max_length=32",
        f"teacher.model={model}",
        "teacher.epochs=4",
        "teacher.batch_size=8",
        "teacher.lr=2e-3",
        "student=layers",
        "student.num_layers=2",
        "optim.lr=1e-3",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
    ]


def besides(base: list[str], overrides: Iterable[str]) -> list[str]:
    """Overrides without those below a group that others choose anew."""
    chosen = {override.split("=")[0] for override in overrides}
    return [o for o in base if o.split("=")[0].split(".")[0] not in chosen]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let processes compute as this one does, with one thread: otherwise their bits differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
        yield


@pytest.fixture
def lab(
    tmp_path: Path, finetuned: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run the tiny task with further overrides; the teacher comes fine-tuned."""
    monkeypatch.chdir(tmp_path)

    def go(*overrides: str, out: str = "run") -> Result:
        return run(settings(*overrides), tmp_path / out)

    def settings(*overrides: str) -> Config:
        store = f"store_dir={tmp_path}/store"
        base = besides(tiny(finetuned, rows_file), overrides)
        return compose(*base, store, *overrides)

    return go


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data; tests that need it are skipped where it is absent."""
    if not (SHARED / "data" / "README.md").is_file():
        pytest.skip(f"real data are not here: {SHARED}")
    return SHARED
