"""Files for the servers of GLUE and SQuAD."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from distill_lab.config import build, conf_dir
from distill_lab.errors import UsageError
from distill_lab.serving import asking, submission
from distill_lab.serving.served import Served, open_run
from distill_lab.squad_evaluation import of_files
from distill_lab.verbs.predict import main

Finished = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def task_of(name: str, data: Path) -> Any:
    shared, own = (
        yaml.safe_load((conf_dir() / "task" / "glue" / f"{file}.yaml").read_text())["task"]
        for file in ("_glue", name)
    )
    return build({**shared, **own, "data_dir": str(data)})


@pytest.fixture
def answered(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Served]:
    """Return a student of any GLUE task, whose answers are given."""
    served = open_run(finished("classes"))

    def of(name: str, data: Path, answers: list[Any]) -> Served:
        def ask(served: Served, asked: Any, options: Any) -> asking.Answers:
            assert asked.complete(0)
            given = (answers * len(asked.first))[: len(asked.first)]
            return asking.Answers({asking.ANSWER: given}, [], "")

        monkeypatch.setattr(submission, "ask", ask)
        return replace(served, task=task_of(name, data))

    return of


# Columns of the official test files, what the server calls the file, and what it wants in it.
OFFICIAL: dict[str, tuple[list[str], str, list[Any], list[str]]] = {
    "cola": (["index", "sentence"], "CoLA", ["acceptable", "unacceptable"], ["1", "0"]),
    "sst2": (["index", "sentence"], "SST-2", ["positive", "negative"], ["1", "0"]),
    "mrpc": (
        ["index", "#1 ID", "#2 ID", "#1 String", "#2 String"], "MRPC",
        ["equivalent", "not_equivalent"], ["1", "0"],
    ),
    "stsb": (["index", "genre", "sentence1", "sentence2"], "STS-B", [5.4, -0.3, 2.34567],
             ["5.000", "0.000", "2.346"]),
    "qqp": (["id", "question1", "question2"], "QQP", ["duplicate", "not_duplicate"], ["1", "0"]),
    "qnli": (["index", "question", "sentence"], "QNLI", ["entailment", "not_entailment"],
             ["entailment", "not_entailment"]),
    "rte": (["index", "sentence1", "sentence2"], "RTE", ["not_entailment"], ["not_entailment"]),
    "wnli": (["index", "sentence1", "sentence2"], "WNLI", ["entailment", "not_entailment"],
             ["1", "0"]),
}  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
def test_glue_gets_its_names_and_words(
    name: str, answered: Callable[..., Served], tmp_path: Path
) -> None:
    columns, file, answers, words = OFFICIAL[name]
    rows = [[str(at), *['a "word'] * (len(columns) - 1)] for at in (7, 5, 6)]
    text = "".join("\t".join(row) + "\r\n" for row in [columns, *rows])
    (tmp_path / "test.tsv").write_text("\ufeff" + text, newline="")
    served = answered(name, tmp_path, answers)
    said = submission.submit(served, None, tmp_path / "out", asking.Options())
    written = (tmp_path / "out" / f"{file}.tsv").read_text()
    expected = [f"{at}\t{word}" for at, word in zip("756", (words * 3)[:3], strict=True)]
    assert written == "\n".join(["index\tprediction", *expected]) + "\n"
    assert "3 rows, GLUE's test set has" in said[0] and said[1].endswith(f"{file}.tsv")


def test_mnli_has_two_test_sets_and_a_third(
    answered: Callable[..., Served], tmp_path: Path
) -> None:
    text = "index\tsentence1\tsentence2\n0\ta\tb\n"
    for part in ("test_matched", "test_mismatched"):
        (tmp_path / f"{part}.tsv").write_text(text)
    served = answered("mnli", tmp_path, ["neutral"])
    submission.submit(served, None, tmp_path / "two", asking.Options())
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {"MNLI-m.tsv", "MNLI-mm.tsv"}
    (tmp_path / "diagnostic.tsv").write_text(text)
    submission.submit(served, None, tmp_path / "three", asking.Options())
    assert {path.name for path in (tmp_path / "three").iterdir()} == {*names, "AX.tsv"}
    with pytest.raises(UsageError, match="3 test files; name a folder"):
        submission.submit(served, None, tmp_path / "one.tsv", asking.Options())
    given = tmp_path / "test_mismatched.tsv"
    submission.submit(served, given, tmp_path / "one.tsv", asking.Options())
    assert (tmp_path / "one.tsv").read_text() == "index\tprediction\n0\tneutral\n"


def test_a_run_answers_the_file_beside_its_own(
    finished: Finished, tmp_path: Path, capsys: Capture
) -> None:
    run = finished("numbers")
    main([str(run), "--submission", str(tmp_path)])
    found = pd.read_csv(tmp_path / "STS-B.tsv", sep="\t")
    told = pd.read_parquet(run / "predictions.parquet").sort_values("id").student
    assert found["index"].tolist() == list(range(160))
    expected = np.clip(told, 0, 5)
    assert np.allclose(found.prediction[: len(told)], expected, atol=6e-4)
    assert "160 rows, GLUE's test set has 1,379" in capsys.readouterr().err


def test_a_row_that_cannot_be_answered_is_an_error(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("index\tsentence1\tsentence2\n0\ta\tb\n1\t\tb\n")
    with pytest.raises(UsageError, match=r"test.tsv, line 3: no text; the server wants"):
        main([str(finished("numbers")), "--file", f"{tmp_path}/test.tsv",
              "--submission", f"{tmp_path}/out"])  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_test_file_that_is_missing_is_named(
    answered: Callable[..., Served], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"test.tsv: there is no such file; get GLUE's official"):
        submission.submit(answered("rte", tmp_path, []), None, tmp_path / "o", asking.Options())


def test_squad_scores_the_file_as_the_run_was_scored(finished: Finished, tmp_path: Path) -> None:
    run = finished("spans")
    main([str(run), "--submission", str(tmp_path)])
    found = of_files(run.parent / "squad" / "dev.json", tmp_path / "predictions.json")
    metrics = json.loads((run / "result.json").read_text())["metrics"]["student"]
    assert found["f1"] == pytest.approx(100 * metrics["f1"])
    assert found["exact"] == pytest.approx(100 * metrics["exact"]) and "missing" not in found
    main([str(run), "--submission", f"{tmp_path}/named.json"])
    assert (tmp_path / "named.json").read_text() == (tmp_path / "predictions.json").read_text()


def test_questions_without_answer_have_probabilities(finished: Finished, tmp_path: Path) -> None:
    run = finished("spans")
    served = open_run(run)
    served.task.no_answers = True  # type: ignore[attr-defined]
    submission.submit(served, None, tmp_path, asking.Options())
    answers = json.loads((tmp_path / "predictions.json").read_text())
    shares = json.loads((tmp_path / "na_prob.json").read_text())
    assert shares.keys() == answers.keys()
    assert all(0 <= share <= 1 for share in shares.values())
    # A question is left without an answer where none is likelier than the best.
    assert {name for name, text in answers.items() if not text} == {
        name for name, share in shares.items() if share > 0.5
    }
