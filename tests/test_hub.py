"""Hub names, read offline from a cache in the hub's own layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from distill_lab.results import Result
from distill_lab.tasks.corpus import Corpus
from tests.conftest import sentences, tiny
from tests.tasks.squad_files import drawn

REVISION = "0123456789abcdef0123456789abcdef01234567"


def fill_cache(home: Path, name: str, folder: Path, kind: str = "models") -> None:
    """Lay files where `huggingface_hub` keeps a downloaded repository."""
    repository = home / "hub" / f"{kind}--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    for file in folder.iterdir():
        if file.is_file():
            (snapshot / file.name).write_bytes(file.read_bytes())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hf_home"


def train(folder: Path, home: Path, *line: str) -> subprocess.CompletedProcess[str]:
    import os

    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "distill_lab", "train", *line, f"hydra.run.dir={folder}/run"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_teacher_and_a_student_by_hub_name(
    home: Path, encoder: Path, rows_file: Path, tmp_path: Path
) -> None:
    fill_cache(home, "tiny-org/tiny-encoder", encoder)
    line = [*tiny(encoder, rows_file)[:3], *tiny(encoder, rows_file)[4:]]
    line = [o for o in line if not o.startswith("student")]
    answer = train(
        tmp_path, home, *line, "teacher.model=tiny-org/tiny-encoder",
        "student=pretrained", "student.model=tiny-org/tiny-encoder",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    result = Result.read(tmp_path / "run" / "result.json")
    assert result.choices["teacher_name"] == "tiny-encoder"
    assert result.metrics["teacher"]["accuracy"] > 0.7


def test_a_hub_name_that_is_not_in_the_cache(home: Path, rows_file: Path, tmp_path: Path) -> None:
    answer = train(tmp_path, home, *tiny(Path("tiny-org/absent"), rows_file))
    assert answer.returncode == 2
    assert "teacher.model=tiny-org/absent: neither a folder here nor in the hub" in answer.stderr


def test_glue_from_the_hub(home: Path, encoder: Path, tmp_path: Path) -> None:
    tables = dict[str, pd.DataFrame]()
    for split, count in (("train", 200), ("validation", 40)):
        table = sentences(count).rename(columns={"text": "sentence"})
        table["label"] = (table["label"] == "positive").astype("int64")
        table["idx"] = range(count)
        tables[split] = table
    publish(tables, home, "nyu-mll/glue", "sst2")
    answer = train(
        tmp_path, home, "task=glue/sst2", f"teacher.model={encoder}", "teacher.epochs=1",
        "teacher.min_over_chance=-1", "student=layers", "student.num_layers=1",
        "task.max_length=32", "trainer.max_steps=2", "trainer.accelerator=cpu",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    result = Result.read(tmp_path / "run" / "result.json")
    assert result.rows == {"train": 180, "selection": 20, "evaluation": 40}


def test_qqp_has_rows_without_text(home: Path, encoder: Path, tmp_path: Path) -> None:
    """As a few of the real ones; they are left out, and the others keep their ids."""
    tables = dict[str, pd.DataFrame]()
    for split, count in (("train", 200), ("validation", 40)):
        table = sentences(count).rename(columns={"text": "question1"})
        table["question2"] = table["question1"]
        table.loc[[3, 5], "question2"] = ["", " "]
        table["label"] = (table["label"] == "positive").astype("int64")
        table["idx"] = range(count)
        tables[split] = table
    publish(tables, home, "nyu-mll/glue", "qqp")
    answer = train(
        tmp_path, home, "task=glue/qqp", f"teacher.model={encoder}", "teacher.epochs=1",
        "teacher.min_over_chance=-1", "student=layers", "student.num_layers=1",
        "task.max_length=32", "trainer.max_steps=2", "trainer.accelerator=cpu",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "incomplete rows left out: 2" in answer.stderr
    result = Result.read(tmp_path / "run" / "result.json")
    assert result.rows == {"train": 178, "selection": 20, "evaluation": 38}


def test_squad_from_the_hub(home: Path, encoder: Path, tmp_path: Path) -> None:
    tables = dict[str, pd.DataFrame]()
    for split, articles in (("train", 12), ("validation", 3)):
        table = pd.DataFrame(
            {
                "id": asked["id"],
                "title": article["title"],
                "context": paragraph["context"],
                "question": asked["question"],
                "answers": {
                    "text": [one["text"] for one in asked["answers"]],
                    "answer_start": [one["answer_start"] for one in asked["answers"]],
                },
            }
            for article in drawn(articles, len(split))
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        )
        tables[split] = table
    publish(tables, home, "rajpurkar/squad", "plain_text")
    answer = train(
        tmp_path, home, "task=squad", f"teacher.model={encoder}", "teacher.epochs=1",
        "teacher.min_over_chance=-1", "student=layers", "student.num_layers=1",
        "task.max_length=32", "task.stride=8", "task.max_question=8", "trainer.max_steps=2",
        "trainer.accelerator=cpu",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    result = Result.read(tmp_path / "run" / "result.json")
    assert result.rows == {"train": 66, "selection": 6, "evaluation": 18}


def test_a_corpus_from_the_hub(home: Path, encoder: Path, tmp_path: Path) -> None:
    """Rows that are lines of one text are the file that they were made of."""
    tables = dict[str, pd.DataFrame]()
    for split, count in (("train", 400), ("test", 60)):
        lines = [f" {text} \n" for text in sentences(count, seed=count)["text"]]
        lines[::7] = [" \n"] * len(lines[::7])
        (tmp_path / f"{split}.txt").write_text("".join(lines))
        # A line may or may not have its end.
        table = pd.DataFrame({"text": [line.rstrip("\n") for line in lines[:9]] + lines[9:]})
        tables[split] = table
    publish(tables, home, "some-org/wiki", "raw")
    settings = [
        "task=masked_lm", "task.train=hub:some-org/wiki:raw:train", "task.max_length=32",
        f"teacher.model={encoder}", "teacher.epochs=1", "teacher.min_over_chance=-1",
        "student=layers", "student.num_layers=1", "trainer.max_steps=2", "trainer.accelerator=cpu",
        "baseline=false",
    ]  # fmt: skip
    typed = "task.evaluation=hub:some-org/wiki:raw:test"
    answer = train(tmp_path, home, *settings, typed, "task.lines=true")
    assert answer.returncode == 0, answer.stderr
    result = Result.read(tmp_path / "run" / "result.json")
    assert result.fingerprints["evaluation"] == Corpus((tmp_path / "test.txt",)).fingerprint()
    answer = train(tmp_path, home, *settings, "task.evaluation=hub:some-org/wiki")
    assert answer.returncode == 2 and "name one dataset as hub:NAME:" in answer.stderr
    answer = train(tmp_path, home, *settings, "task.evaluation=hub:some-org/wiki:raw:dev")
    assert answer.returncode == 2 and "Traceback" not in answer.stderr


def publish(tables: dict[str, pd.DataFrame], home: Path, name: str, config: str) -> None:
    """Make a hub dataset of tables by split, and lay it where a download would leave it."""
    repository = home / "made" / name.replace("/", "-")
    (repository / config).mkdir(parents=True)
    parts = list[str]()
    for split, table in tables.items():
        table.to_parquet(repository / config / f"{split}-00000-of-00001.parquet")
        parts.append(f"  - split: {split}\n    path: {config}/{split}-*\n")
    (repository / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{''.join(parts)}---\n"
    )
    _prepare(repository, home, name, config)


def _prepare(repository: Path, home: Path, name: str, config: str) -> None:
    """Let `datasets` itself fill its cache, as a download of a hub dataset would leave it."""
    from datasets import load_dataset_builder

    built = home / "build"
    builder = load_dataset_builder(str(repository), config, cache_dir=str(built))
    builder.download_and_prepare()
    source = Path(builder.cache_dir)
    place = name.replace("/", "___")
    target = home / "datasets" / place / config / "0.0.0" / REVISION
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file():
            file_name = file.name.replace(builder.dataset_name, name.split("/")[1])
            (target / file_name).write_bytes(file.read_bytes())
