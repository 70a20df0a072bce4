"""Rows without labels as models read them, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill_lab.errors import DataError
from distill_lab.serving.columns import Asked, read_by
from distill_lab.serving.reading import read_rows
from distill_lab.serving.served import Served
from distill_lab.tasks import Images, Instruction, Squad, Task
from distill_lab.tasks.answer_rows import rendered
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.pictures import from_files
from distill_lab.tasks.pixel_rows import PixelRows
from distill_lab.tasks.questions import Questions
from distill_lab.tasks.rows import Ids, Rows


def rows_of_file(served: Served, path: Path) -> ModelRows:
    """Return the rows of a file that have all that the task reads.

    Raises:
        DataError: If there are none, or the file cannot be used.
    """
    table, (text, pair) = read_rows(path, served.task), read_by(served.task)
    second = None if pair is None else table.column(pair)
    asked = Asked(table.column(text), second, table.line, text)
    can = [at for at in range(len(asked.first)) if asked.complete(at)]
    if not can:
        raise DataError(f"{path}: no row has all that the student reads")
    return rows_of(served, asked.take(can))


def rows_of(served: Served, asked: Asked) -> ModelRows:
    """Return rows as the task's models read them; their labels mean nothing.

    Args:
        served: The student.
        asked: Complete rows.
    """
    task = served.task
    if isinstance(task, Images):
        pictures = from_files([Path(p) for p in asked.first], task.size, task.channels)
        return PixelRows(pictures, task.mean, task.std)
    assert served.tokenizer is not None
    if isinstance(task, Squad):
        return task.tokens(questions_of(asked), served.tokenizer)
    texts = list(asked.first)
    if isinstance(task, Instruction):
        texts = [rendered(prompt, served.tokenizer) for prompt in asked.prompts()]
    plain = Rows(numbers(asked), texts, asked.second, numbers(asked))
    return Task.tokens(task, plain, served.tokenizer)


def questions_of(asked: Asked) -> Questions:
    """Return questions without answers, named by their places."""
    assert asked.second is not None
    ids = numbers(asked)
    return Questions(
        ids, [str(text).strip() for text in asked.first], list(asked.second),
        np.full((len(ids), 2), -1, dtype=np.int64), [str(at) for at in ids.tolist()],
        np.zeros(len(ids), dtype=np.int64), [()] * len(ids),
    )  # fmt: skip


def numbers(asked: Asked) -> Ids:
    """Return the places of the rows."""
    return np.arange(len(asked.first), dtype=np.int64)
