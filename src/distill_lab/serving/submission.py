"""What the servers of GLUE and SQuAD take: answers to their official test files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill_lab.errors import DataError
from distill_lab.serving.asking import ANSWER, Options, ask
from distill_lab.serving.columns import Asked
from distill_lab.serving.predicting import write_whole
from distill_lab.serving.reading import read_rows
from distill_lab.serving.served import Served
from distill_lab.serving.tables import SquadFile
from distill_lab.tasks import Glue, Squad
from distill_lab.tasks.hub import load_hub

# gluebenchmark.com/faq: the names of the files in the archive, by task and test file; and how many
# rows each has.
_FILES = {
    ("cola", "test"): ("CoLA.tsv", 1063),
    ("sst2", "test"): ("SST-2.tsv", 1821),
    ("mrpc", "test"): ("MRPC.tsv", 1725),
    ("stsb", "test"): ("STS-B.tsv", 1379),
    ("qqp", "test"): ("QQP.tsv", 390965),
    ("mnli", "test_matched"): ("MNLI-m.tsv", 9796),
    ("mnli", "test_mismatched"): ("MNLI-mm.tsv", 9847),
    ("mnli", "diagnostic"): ("AX.tsv", 1104),
    ("qnli", "test"): ("QNLI.tsv", 5463),
    ("rte", "test"): ("RTE.tsv", 3000),
    ("wnli", "test"): ("WNLI.tsv", 146),
}
_WORDS = {"mnli", "qnli", "rte"}  # whose labels are words there; those of the others are ids
_INDEX = ("index", "id", "idx")


def submit(served: Served, file: Path | None, out: Path, options: Options) -> list[str]:
    """Write what a server takes.

    Of GLUE `TASK.tsv` with `index` and `prediction`; of SQuAD a JSON object of question ids and
    answers, and for v2.0 beside it one of the probabilities that there is none.

    Args:
        served: The student.
        file: The official test file; None for those beside the task's own, or the hub's.
        out: A folder, or the name of a single file.
        options: How rows are answered.

    Returns:
        What is to be said: what was written, and what is odd about it.

    Raises:
        DataError: If the task has no such server, or its files are not there.
    """
    if isinstance(served.task, Squad):
        return _squad(served, served.task, file, out, options)
    if isinstance(served.task, Glue):
        return _glue(served, served.task, file, out, options)
    raise DataError(
        f"--submission: {served.task.name} is no task of GLUE or SQuAD, whose servers take such"
        " files; take --file"
    )


def _glue(served: Served, task: Glue, file: Path | None, out: Path, options: Options) -> list[str]:
    parts = [part for name, part in _FILES if name == task.name]
    if not parts:
        raise DataError(f"--submission: GLUE has no task {task.name}")
    sources = {part: _test_file(task, part) for part in parts if not _may_lack(task, part)}
    if file is not None:
        part = file.stem if file.stem in parts else parts[0]
        sources = {part: file}
    single = out.suffix == ".tsv"
    if single and len(sources) > 1:
        raise DataError(
            f"--submission {out}: {task.name} has {len(sources)} test files; name a folder, or one"
            " of them by --file"
        )
    said = list[str]()
    for part, source in sources.items():
        name, count = _FILES[task.name, part]
        indices, asked = _of_hub(task, part) if source is None else _of_file(task, source)
        if len(indices) != count:
            said.append(
                f"{asked.name(0)} ...: {len(indices):,} rows, GLUE's test set has {count:,}"
            )
        answers = ask(served, asked, replace(options, probabilities=False))
        if answers.left_out:
            raise DataError(
                f"{asked.name(answers.left_out[0])}: {answers.why}; the server wants an answer to"
                " every row, so the official file is needed as it is"
            )
        lines = ["index\tprediction"]
        told = (_told(task, value) for value in answers.columns[ANSWER])
        lines += [f"{index}\t{value}" for index, value in zip(indices, told, strict=True)]
        path = out if single else out / name
        write_whole(path, ("\n".join(lines) + "\n").encode())
        said.append(f"kept in {path}")
    return said


def _told(task: Glue, value: Any) -> str:
    """Return an answer as GLUE's server spells it."""
    if task.problem.kind == "regression":
        return f"{min(max(float(value), 0.0), 5.0):.3f}"  # scores of STS-B go from 0 to 5
    return str(value) if task.name in _WORDS else str(task.problem.labels.index(value))


def _may_lack(task: Glue, part: str) -> bool:
    """Whether the diagnostic set, which no task is scored on, is not at hand."""
    absent = task.data_dir is None or not (task.data_dir / f"{part}.tsv").is_file()
    return part == "diagnostic" and absent


def _test_file(task: Glue, part: str) -> Path | None:
    """Return the official test file beside the task's own; None for the hub."""
    if task.data_dir is None:
        return None
    path = task.data_dir / f"{part}.tsv"
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; get GLUE's official test file, or name it by --file"
        )
    return path


def _of_file(task: Glue, path: Path) -> tuple[list[Any], Asked]:
    if path.suffix != ".tsv":
        raise DataError(f"{path}: GLUE's official files are .tsv")
    table = read_rows(path, task)
    index = next((name for name in _INDEX if name in table.names), None)
    second = None if task.tsv.pair is None else table.column(task.tsv.pair)
    asked = Asked(table.column(task.tsv.text), second, table.line)
    return list(range(len(asked.first))) if index is None else table.values(index), asked


def _of_hub(task: Glue, part: str) -> tuple[list[Any], Asked]:
    rows = load_hub(task.hub, task.name, part, "--file")
    columns = task.hub_columns
    second = None if columns.pair is None else list(rows[columns.pair])
    asked = Asked(list(rows[columns.text]), second, lambda at: f"{task.hub}/{part}, row {at}")
    return list(rows["idx"]), asked


def _squad(
    served: Served, task: Squad, file: Path | None, out: Path, options: Options
) -> list[str]:
    if file is None:
        if task.data_dir is None:
            raise DataError("--submission: name SQuAD's official file by --file")
        file = task.data_dir / task.files["evaluation"]
    table = read_rows(file, task)
    if not isinstance(table, SquadFile):
        raise DataError(f"{file}: not in SQuAD's own layout, which its server reads")
    names: Sequence[str] = table.texts["id"]
    asked = Asked(table.values("question"), table.values("context"), table.line)
    answers = ask(served, asked, options)
    texts = [text or "" for text in answers.columns[ANSWER]]
    path = out if out.suffix == ".json" else out / "predictions.json"
    said = list[str]()
    contents = {path: dict(zip(names, texts, strict=True))}
    if task.no_answers:
        none = [1.0 if share is None else share for share in answers.columns["no_answer"]]
        beside = path.with_name("na_prob.json" if path.name == "predictions.json" else
                                f"{path.stem}_na_prob.json")  # fmt: skip
        contents[beside] = dict(zip(names, none, strict=True))
    for each, content in contents.items():
        write_whole(each, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
        said.append(f"kept in {each}")
    return said
