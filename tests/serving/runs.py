"""Small finished runs of each kind of task, made once for all tests that ask their students."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig

from distill_lab.heads import new_network
from distill_lab.hydra_entry import compose
from distill_lab.run import run
from distill_lab.tasks.corpus import Corpus
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.types import Problem
from tests.conftest import sentences, tiny
from tests.tasks.squad_files import folder as squad_folder
from tests.tasks.test_images import drawn, write_idx
from tests.tasks.test_instruction import decoder, new_tokenizer
from tests.tasks.test_instruction import rows as letters
from tests.tasks.test_instruction import write as write_lines
from tests.tasks.test_language import GPT, text

_SMALL = [
    "teacher.epochs=1", "teacher.lr=2e-3", "teacher.min_over_chance=-1", "student=layers",
    "student.num_layers=1", "optim.lr=1e-3", "optim.batch_size=16", "trainer.max_epochs=1",
    "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "baseline=false",
]  # fmt: skip


def classes(work: Path, encoder: Path) -> list[str]:
    """Films, good or bad; the student is sure of itself."""
    rows = work / "reviews.csv"
    sentences(300).to_csv(rows, index=False)
    return [*tiny(encoder, rows), "baseline=false", "student.num_layers=2", "optim.lr=3e-3",
            "trainer.max_epochs=2"]  # fmt: skip


def int8(work: Path, encoder: Path) -> list[str]:
    """The same films, by a student that is trained for int8."""
    given = [each for each in classes(work, encoder) if not each.startswith("student")]
    return [*given, "student=int8", "student@student.of=layers", "student.of.num_layers=2"]


def numbers(work: Path, encoder: Path) -> list[str]:
    """Pairs of sentences with a score, in the official layout of STS-B."""
    data, random = work / "STS-B", np.random.default_rng(0)
    data.mkdir(exist_ok=True)
    first, second = sentences(160, 1), sentences(160, 2)
    table = pd.DataFrame({
        "index": range(160), "sentence1": first.text, "sentence2": second.text,
        "score": 4.0 * (first.label == "positive") + random.uniform(0, 1, 160).round(2),
    })  # fmt: skip
    table.to_csv(data / "train.tsv", sep="\t", index=False)
    table[:30].to_csv(data / "dev.tsv", sep="\t", index=False)
    table.drop(columns="score").to_csv(data / "test.tsv", sep="\t", index=False)
    return ["task=glue/stsb", f"task.data_dir={data}", "task.max_length=24",
            f"teacher.model={encoder}", *_SMALL, "teacher.epochs=3", "trainer.max_epochs=4",
            "optim.lr=3e-3"]  # fmt: skip


def spans(work: Path, encoder: Path, version: str = "squad") -> list[str]:
    """Who likes what, in paragraphs longer than a window."""
    data = work / "squad"
    data.mkdir(exist_ok=True)
    squad_folder(data)
    return [
        f"task={version}", f"task.data_dir={data}", "task.max_length=32", "task.stride=8",
        "task.files={train: train.json, evaluation: dev.json}", "task.max_question=8",
        f"teacher.model={encoder}", *_SMALL,
    ]  # fmt: skip


def pictures(work: Path, encoder: Path) -> list[str]:
    """Quarters that are bright."""
    for part, count in (("train", 300), ("test", 60)):
        made = drawn(count, len(part))
        write_idx(work / f"{part}-images.gz", made.pixels[..., 0])
        write_idx(work / f"{part}-labels.gz", made.labels)
    return [
        "task=mnist", "teacher=mlp", "student=mlp", f"task.data_dir={work}",
        "task.files.train=[train-images.gz,train-labels.gz]",
        "task.files.evaluation=[test-images.gz,test-labels.gz]",
        'task.labels=["0","1","2","3"]', "task.size=[8,8]", "task.jitter=0",
        "teacher.scratch.hidden_sizes=[32,32]", "teacher.epochs=6", "teacher.lr=5e-3",
        "student.sizes.hidden_sizes=[8]", "optim.lr=5e-3", "optim.batch_size=32",
        "trainer.max_epochs=3", "trainer.accelerator=cpu", "baseline=false",
    ]  # fmt: skip


def masked(work: Path, encoder: Path) -> list[str]:
    """Words that are hidden."""
    return [*_words(work, "masked_lm"), f"teacher.model={encoder}", *_SMALL]


def causal(work: Path, encoder: Path) -> list[str]:
    """Words that follow."""
    given = _words(work, "causal_lm")
    return [*given, f"teacher.model={_decoder(work)}", *_SMALL]


def instruction(work: Path, encoder: Path) -> list[str]:
    """Prompts of letters."""
    write_lines(work / "train.jsonl", letters(120, 1))
    write_lines(work / "test.jsonl", letters(24, 2))

    tokenizer, folder = new_tokenizer(), work / "decoder"
    decoder(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return [
        "task=instruction", f"task.train={work}/train.jsonl",
        f"task.evaluation={work}/test.jsonl", "task.max_length=48", "task.max_new_tokens=6",
        "objective=sequence", f"teacher.model={folder}", "teacher.finetune=true",
        "task.keep.correct=false", "task.keep.complete=false", *_SMALL,
    ]  # fmt: skip


def _words(work: Path, kind: str) -> list[str]:
    (work / "train.txt").write_text(text(400, 1))
    (work / "test.txt").write_text(text(40, 2))
    return [f"task={kind}", f"task.train={work}/train.txt", f"task.evaluation={work}/test.txt",
            "task.max_length=32", "task.selection=0.1"]  # fmt: skip


def _decoder(work: Path) -> Path:
    folder = work / "decoder"
    tokenizer = train_tokenizer(Corpus((work / "train.txt",)), 300, 64, framed=False)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        **GPT, vocab_size=len(tokenizer), n_positions=64, bos_token_id=0, eos_token_id=0
    )
    new_network(config, Problem("causal_lm", (), len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


KINDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "classes": classes, "int8": int8, "numbers": numbers, "spans": spans, "pictures": pictures,
    "masked": masked, "causal": causal, "instruction": instruction,
}  # fmt: skip


def make(kind: str, work: Path, encoder: Path) -> Path:
    """Run a small study of a kind, and return its folder."""
    work.mkdir(parents=True, exist_ok=True)
    overrides = KINDS[kind](work, encoder)
    run(compose(*overrides, f"store_dir={work}/store"), work / "run")
    return work / "run"
