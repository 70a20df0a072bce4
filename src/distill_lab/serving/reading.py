"""Reading rows that are to be answered, with errors that name the line."""

from __future__ import annotations

from pathlib import Path

from distill_lab.errors import DataError
from distill_lab.plain_json import json_lines, json_of
from distill_lab.row_files import check_row_file
from distill_lab.serving.tables import Frame, Objects, SquadFile, Table
from distill_lab.tasks import Glue, Images, Squad, Task
from distill_lab.tasks.files import read_glue_tsv, read_table


def read_rows(path: Path, task: Task) -> Table:
    """Read a file as the task reads its own, without its labels.

    Args:
        path: CSV, TSV, JSON lines, parquet, or of questions SQuAD's own layout. TSV of a GLUE task
            is read as the official files are.
        task: Of the run.

    Raises:
        DataError: If it is missing, empty, not UTF-8, or not what its ending says.
    """
    of_pictures = " (paths of pictures stand in a column of such a file)"
    check_row_file(path, of_pictures if isinstance(task, Images) else "")
    if path.suffix in (".jsonl", ".json"):
        text = _utf8(path)
        if isinstance(task, Squad) and path.suffix == ".json" and '"data"' in text[:10_000]:
            return _squad(path, text)
        return _objects(path, text)
    if path.suffix == ".parquet":
        return Frame(path, 0, read_table(path), False, True)
    _utf8(path)
    if isinstance(task, Glue) and path.suffix == ".tsv":
        return _glue(path, task)
    return Frame(path, 2, read_table(path), False, True)


def _glue(path: Path, task: Glue) -> Frame:
    """Read an official file; CoLA's for training has no header, its test file has one."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline().rstrip("\r\n").split("\t")
    header = task.header is None or task.tsv.text in first
    frame = read_glue_tsv(path, None if header else task.header)
    return Frame(path, 2 if header else 1, frame, True, header)


def _squad(path: Path, text: str) -> SquadFile:
    content = json_of(text, path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a SQuAD file, which is an object with data")
    return SquadFile(path, content)


def _objects(path: Path, text: str) -> Objects:
    found = list(json_lines(text.split("\n"), path))
    if not found:
        raise DataError(f"{path}: the file has no rows")
    return Objects(path, [row for _, row in found], [number for number, _ in found])


def _utf8(path: Path) -> str:
    """Return a file's text.

    Raises:
        DataError: If it is not UTF-8; it names the first line that is not.
    """
    content = path.read_bytes()
    if not content:
        raise DataError(f"{path}: the file is empty")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 text; convert the file, for example with iconv"
        ) from error
