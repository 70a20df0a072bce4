"""Reading rows: the official GLUE layout, users' files, the embedded task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distill_lab.errors import DataError
from distill_lab.tasks import Glue, StdlibDocs, TextFiles
from distill_lab.tasks.files import read_glue_tsv, read_table
from distill_lab.tasks.rows import Rows, carve, in_lines
from distill_lab.tasks.stdlib_docs import TOPICS, docstrings
from tests.conftest import sentences


def rows(count: int = 100) -> Rows:
    labels = np.arange(count) % 2
    return Rows(np.arange(count), [f"text {i}" for i in range(count)], None, labels)


def test_carving_is_the_same_every_time_and_keeps_ids() -> None:
    rest, part = carve(rows(), 0.2)
    again, same = carve(rows(), 0.2)
    assert part.ids.tolist() == same.ids.tolist() and rest.ids.tolist() == again.ids.tolist()
    assert len(part) == 20 and sorted([*rest.ids, *part.ids]) == list(range(100))
    assert part.text == [f"text {i}" for i in part.ids]
    assert len(carve(rows(), 0.2, at_most=5)[1]) == 5


def test_fingerprint_changes_with_any_part_of_a_row() -> None:
    one = rows(3)
    assert one.fingerprint() == rows(3).fingerprint()
    changed = [
        Rows(one.ids + 1, one.text, None, one.labels),
        Rows(one.ids, ["text 0", "text 1", "Text 2"], None, one.labels),
        Rows(one.ids, one.text, ["", "", "x"], one.labels),
        Rows(one.ids, one.text, None, 1 - one.labels),
        one.take(np.array([0, 2, 1])),
    ]
    assert len({one.fingerprint(), *(c.fingerprint() for c in changed)}) == 6


def glue(folder: Path, **changes: object) -> Glue:
    settings = {
        "name": "cola",
        "labels": ["unacceptable", "acceptable"],
        "tsv": {"text": "sentence", "label": "label"},
        "hub_columns": {"text": "sentence"},
        "metrics": ["matthews"],
        "data_dir": str(folder),
        "selection": 0.25,
    }
    return Glue(**{**settings, **changes})  # type: ignore[arg-type]


def test_cola_has_no_header(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        lines = [f'gj04\t{i % 2}\t{"*" if i % 2 else ""}\tSentence "{i}' for i in range(8)]
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    splits = glue(tmp_path, header=["source", "label", "mark", "sentence"]).load()
    evaluation = splits.evaluation["evaluation"]
    assert evaluation.text[0] == 'Sentence "0' and len(evaluation) == 8
    assert evaluation.labels.tolist() == [0, 1] * 4
    assert len(splits.train) == 6 and len(splits.selection) == 2


def test_bom_and_literal_quotes(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text('\ufeffQuality\t#1 String\n1\t" He said\n0\tso "\n', encoding="utf-8")
    table = read_glue_tsv(path)
    assert list(table.columns) == ["Quality", "#1 String"]
    assert list(table["#1 String"]) == ['" He said', 'so "']


def test_line_ends_of_windows(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        lines = ["sentence\tlabel", *(f"text {i}\t{i % 2}" for i in range(8))]
        (tmp_path / f"{split}.tsv").write_bytes("\r\n".join([*lines, ""]).encode())
    evaluation = glue(tmp_path).load().evaluation["evaluation"]
    assert evaluation.labels.tolist() == [0, 1] * 4 and evaluation.text[0] == "text 0"


def test_label_names_and_numbers_are_both_understood(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\nb\tunacceptable\nc\t0\nd\t1\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nh\tacceptable\n")
    splits = glue(tmp_path).load()
    labels = dict(zip(splits.train.ids, splits.train.labels, strict=True))
    labels |= dict(zip(splits.selection.ids, splits.selection.labels, strict=True))
    assert labels == {0: 1, 1: 0, 2: 0, 3: 1}


def test_incomplete_rows_are_left_out_only_if_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\nb\n\t0\nc\t0\nd\t1\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nh\t1\n")
    with pytest.raises(DataError, match="line 3: column 'label' has no label"):
        glue(tmp_path).load()
    splits = glue(tmp_path, skip_incomplete=True).load()
    assert sorted([*splits.train.ids, *splits.selection.ids]) == [0, 3, 4]
    assert "incomplete rows left out: 2" in caplog.text


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_users_files(ending: str, tmp_path: Path) -> None:
    table = sentences(40)
    table.loc[5, "text"] = 'He said: "None, NA or null?", twice\nand went'
    path = tmp_path / f"rows.{ending}"
    {
        "csv": lambda: table.to_csv(path, index=False),
        "tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "parquet": lambda: table.to_parquet(path),
    }[ending]()
    task = TextFiles(train_file=str(path), text="text", label="label", metrics=["accuracy"])
    splits = task.load()
    parts = [splits.train, splits.selection, splits.evaluation["evaluation"]]
    texts = {i: t for part in parts for i, t in zip(part.ids, part.text, strict=True)}
    assert [texts[i] for i in range(40)] == list(table["text"])
    assert task.problem.labels == ("negative", "positive")


def test_rows_of_a_parquet_file_are_counted_whatever_index_was_saved(tmp_path: Path) -> None:
    """Two tables one below the other have each index twice, and rows are found by their ids."""
    half = sentences(20)
    twice = pd.concat([half, half])
    twice.to_parquet(tmp_path / "twice.parquet")
    named = half.assign(place=[f"id {i}" for i in range(20)]).set_index("place")
    named.to_parquet(tmp_path / "named.parquet")
    for name, count in (("twice", 40), ("named", 20)):
        table = read_table(tmp_path / f"{name}.parquet")
        assert table.index.tolist() == list(range(count))
    assert table["place"].tolist()[:2] == ["id 0", "id 1"]


def test_pairs_and_numeric_labels_in_numeric_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    table = sentences(60).assign(other="x", label=[i % 12 for i in range(60)])
    table.to_json(path, orient="records", lines=True)
    task = TextFiles(
        train_file=str(path), text="text", pair="other", label="label", metrics=["accuracy"]
    )
    splits = task.load()
    assert task.problem.labels == tuple(str(i) for i in range(12))
    assert splits.train.pair == ["x"] * len(splits.train)


def test_regression_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    sentences(40).assign(label=[i / 7 for i in range(40)]).to_csv(path, index=False)
    task = TextFiles(
        train_file=str(path), text="text", label="label", kind="regression", metrics=["pearson"]
    )
    labels = task.load().train.labels
    assert labels.dtype == np.float32 and task.problem.num_labels == 1


def test_the_embedded_task_is_real_text_of_this_python() -> None:
    task = StdlibDocs()
    splits = task.load()
    parts = [splits.train, splits.selection, splits.evaluation["evaluation"]]
    assert sum(map(len, parts)) > 5000
    assert len({text for part in parts for text in part.text}) == sum(map(len, parts))
    for part in parts:
        assert set(part.labels.tolist()) == set(range(len(TOPICS)))
        assert np.bincount(part.labels).max() / len(part) < 0.35
    assert splits.fingerprints == StdlibDocs().load().fingerprints


def test_docstrings_are_parsed_not_imported(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "x.py").write_text('"""Doc of x."""\nraise SystemExit\n')
    (tmp_path / "json" / "broken.py").write_text("def (:\n")
    (tmp_path / "unknown.py").write_text('"""Not listed."""\n')
    assert list(docstrings(tmp_path)) == [("Doc of x.", "text")]


def test_no_module_has_two_topics() -> None:
    names = [name for line in TOPICS.values() for name in line.split()]
    assert len(names) == len(set(names))


def test_all_columns_with_gaps_are_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\ngood,a\n,b\nbad,\n")
    task = TextFiles(train_file=str(file), text="text", label="label", metrics=["accuracy"])
    with pytest.raises(DataError) as refused:
        task.load()
    first, second = str(refused.value).splitlines()
    assert "line 3: column 'text' has no text" in first
    assert "line 4: column 'label' has no label" in second


def test_lines_in_words() -> None:
    assert in_lines([3]) == "line 3"
    assert in_lines([3, 5]) == "lines 3 and 5"
    assert in_lines([3, 5, 7]) == "lines 3, 5 and 7"
    assert in_lines([3, 5, 7, 9, 11]) == "lines 3, 5, 7 and 2 more"
