"""Small runs of every kind, whose keys and files the battery spoils."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tests.conftest import besides, sentences, tiny
from tests.tasks import squad_files

OBJECTIVES = [
    "attention",
    "combine",
    "dist",
    "distilbert",
    "dkd",
    "hidden",
    "jsd",
    "logit_standardized",
    "minilm",
    "minilm_v2",
    "mse_logits",
    "pkd",
    "reverse_kl",
    "rkd",
    "skew_kl",
    "tinybert",
]


@dataclass(frozen=True)
class Base:
    """A run that works: its line, the groups whose keys are spoilt, and its files."""

    line: list[str]
    groups: tuple[str, ...]
    files: tuple[Path, ...] = ()


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def tables(folder: Path) -> dict[str, Path]:
    """The same rows in each format that is read."""
    rows = sentences(60)
    found = {ending: folder / f"rows.{ending}" for ending in ("csv", "tsv", "jsonl", "parquet")}
    rows.to_csv(found["csv"], index=False)
    rows.to_csv(found["tsv"], index=False, sep="\t")
    rows.to_json(found["jsonl"], orient="records", lines=True)
    rows.to_parquet(found["parquet"])
    numbers = rows.assign(label=np.arange(len(rows)) / 10)
    numbers.to_csv(folder / "numbers.csv", index=False)
    return found


def texts(folder: Path) -> dict[str, Path]:
    """Running text in each format that is read, prompts, and GLUE's own files."""
    text = sentences(80)["text"]
    (folder / "text.txt").write_text("\n\n".join(text))
    text.to_frame().to_json(folder / "text.jsonl", orient="records", lines=True)
    text.to_frame().to_parquet(folder / "text.parquet")
    asked = pd.DataFrame({"prompt": text[:40], "answer": "good"})
    asked.to_json(folder / "prompts.jsonl", orient="records", lines=True)
    asked.to_csv(folder / "prompts.csv", index=False)
    pairs = pd.DataFrame(
        {
            "index": range(40),
            "sentence1": text[:40],
            "sentence2": text[40:].values,
            "label": ["entailment", "not_entailment"] * 20,
        }
    )
    for part in ("train", "dev"):
        pairs.to_csv(folder / f"{part}.tsv", index=False, sep="\t")
    return {path.name: path for path in folder.iterdir()}


def pictures(folder: Path) -> tuple[Path, ...]:
    """MNIST's files, packed and not, and folders of pictures."""
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        for end in (".gz", ""):
            write_idx(folder / f"{part}-pictures{end}", random.integers(0, 255, (count, 8, 8)))
            write_idx(folder / f"{part}-labels{end}", np.arange(count) % 2)
    for part in ("train", "test"):
        for label in "ab":
            place = folder / "folders" / part / label
            place.mkdir(parents=True)
            for number in range(10):
                pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.{('png', 'jpg')[number % 2]}")
    return tuple(
        folder / f"train-{name}" for name in ("pictures.gz", "labels.gz", "pictures", "labels")
    )


def bases(work: Path, finetuned: Path, encoder: Path) -> dict[str, Base]:
    """All of them, by name; their files lie in a folder of their own."""
    for name in ("rows", "texts", "squad", "pictures"):
        (work / name).mkdir()
    rows, text = tables(work / "rows"), texts(work / "texts")
    squad_files.folder(work / "squad")
    idx = pictures(work / "pictures")
    short = ["trainer.max_steps=1", "baseline=false"]
    plain = [*tiny(finetuned, rows["csv"]), *short]
    weak = [
        *short,
        "trainer.accelerator=cpu",
        "teacher.epochs=1",
        "teacher.batch_size=8",
        "teacher.max_steps=1",
        "teacher.min_over_chance=-1",
    ]
    learner = [f"teacher.model={encoder}", "student=layers", "student.num_layers=1", *weak]
    writer = [
        "teacher=new_gpt2",
        "teacher.scratch={model_type: gpt2, n_layer: 2, n_embd: 16, n_head: 2}",
        "teacher.vocab_size=300",
        "student=layers",
        "student.num_layers=1",
        *weak,
    ]
    seer = [
        "teacher=mlp",
        "teacher.scratch.hidden_sizes=[8,8]",
        "student=mlp",
        "student.sizes.hidden_sizes=[4]",
        *weak,
    ]
    mnist = [
        "task=mnist",
        f"task.data_dir={work}/pictures",
        "task.labels=['0','1']",
        "task.size=[8,8]",
    ]
    txt, lines = text["text.txt"], text["text.jsonl"]
    words = [f"task.train={txt}", f"task.evaluation={lines}", "task.max_length=16"]

    def chosen(*line: str, of: list[str] = plain) -> list[str]:
        return [*besides(of, line), *line]

    def idx_files(end: str) -> list[str]:
        names = {"train": "train", "evaluation": "t10k"}
        return [f"task.files.{k}=[{v}-pictures{end},{v}-labels{end}]" for k, v in names.items()]

    found = {
        "rows": Base(
            plain,
            (
                "study",
                "seed",
                "baseline",
                "store_dir",
                "recipe",
                "task",
                "teacher",
                "student",
                "objective",
                "optim",
                "trainer",
                "callbacks",
                "logger",
            ),
            (rows["csv"],),
        ),
        "numbers": Base(
            [
                "task=text_regression",
                f"task.train_file={work}/rows/numbers.csv",
                "task.max_length=32",
                *learner,
            ],
            ("task",),
            (work / "rows" / "numbers.csv",),
        ),
        "glue": Base(
            ["task=glue/rte", f"task.data_dir={work}/texts", "task.max_length=32", *learner],
            ("task",),
            (text["train.tsv"], text["dev.tsv"]),
        ),
        "squad": Base(
            [
                "task=squad",
                f"task.data_dir={work}/squad",
                "task.max_length=32",
                "task.stride=8",
                "task.files={train: train.json, evaluation: dev.json}",
                "task.max_question=8",
                *learner,
            ],
            ("task",),
            (work / "squad" / "train.json", work / "squad" / "dev.json"),
        ),
        "causal": Base(["task=causal_lm", *words, *writer], ("task", "teacher"), (txt, lines)),
        "masked": Base(["task=masked_lm", *words, *learner], ("task",)),
        "parquet": Base(
            [
                "task=masked_lm",
                f"task.train={text['text.parquet']}",
                f"task.evaluation={txt}",
                "task.max_length=16",
                *learner,
            ],
            (),
            (text["text.parquet"],),
        ),
        "mnist": Base([*mnist, *idx_files(".gz"), *seer], ("task", "student", "teacher"), idx[:2]),
        "mnist unpacked": Base([*mnist, *idx_files(""), *seer], (), idx[2:]),
        "pictures": Base(
            [
                "task=images",
                f"task.data_dir={work}/pictures/folders",
                "task.labels=[a,b]",
                "task.size=[8,8]",
                *seer,
                "teacher.model=null",
            ],
            ("task",),
            (work / "pictures/folders/train/a/0.png", work / "pictures/folders/train/b/1.jpg"),
        ),
        "narrow": Base(
            [*plain, "student.hidden_size=16", "student.intermediate_size=16"], ("student",)
        ),
        "scratch": Base(
            chosen(
                "student=scratch",
                "student.sizes={model_type: bert, num_hidden_layers: 1,"
                " hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}",
            ),
            ("student",),
        ),
        "int8": Base(
            chosen("student=int8", "student@student.of=layers", "student.of.num_layers=2"),
            ("student",),
        ),
        "pretrained": Base(
            chosen("student=pretrained", f"student.model={finetuned}"), ("student",)
        ),
        "ensemble": Base(
            chosen(
                "teacher=ensemble",
                f"teacher.models=[{finetuned},{encoder}]",
                "teacher.each.max_steps=1",
                "teacher.each.min_over_chance=-1",
            ),
            ("teacher",),
        ),
        "encoder": Base(
            [
                *plain,
                f"teacher.model={encoder}",
                "teacher.max_steps=1",
                "teacher.min_over_chance=-1",
            ],
            ("teacher",),
        ),
        "tensorboard": Base(chosen("logger=tensorboard"), ("logger",)),
        "wandb": Base(chosen("logger=wandb", "logger.wandb.offline=true"), ("logger",)),
    }
    for ending in ("tsv", "jsonl", "parquet"):
        found[f"rows of {ending}"] = Base(
            [*plain, f"task.train_file={rows[ending]}"], (), (rows[ending],)
        )
    for ending in ("jsonl", "csv"):
        path = text[f"prompts.{ending}"]
        found[f"prompts of {ending}"] = Base(
            [
                "task=instruction",
                f"task.train={path}",
                f"task.evaluation={path}",
                "task.max_length=48",
                "task.max_new_tokens=2",
                "task.answers=data",
                *writer,
            ],
            ("task",) if ending == "jsonl" else (),
            (path,),
        )
    three = pd.read_csv(rows["csv"])
    three["label"] = [f"class {number % 3}" for number in range(len(three))]
    three.to_csv(work / "rows" / "three.csv", index=False)
    classes = [
        "task=text_classification",
        f"task.train_file={work}/rows/three.csv",
        "task.max_length=32",
        *learner,
    ]
    for name in OBJECTIVES:
        of = classes if name in ("dist", "dkd") else plain
        more = ["objective.relation_heads=4"] if name == "minilm_v2" else []
        found[name] = Base(
            chosen(f"objective={name}", "trainer.max_steps=2", *more, of=of), ("objective",)
        )
    return found
