"""Files of rows that are to be answered: read, and written again with the answers beside."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from distill_lab.errors import DataError, did_you_mean

Columns = Mapping[str, list[Any]]


class Table(ABC):
    """Rows of a file.

    Args:
        path: The file.
        first_line: Line of the first row.
    """

    def __init__(self, path: Path, first_line: int) -> None:
        self.path = path
        self.first_line = first_line

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the columns."""

    @abstractmethod
    def values(self, name: str) -> list[Any]:
        """Return the values of a column; None where a row has none."""

    @abstractmethod
    def written(self, answers: Columns) -> bytes:
        """Return the file with further columns."""

    def line(self, row: int) -> str:
        """Name a row by its line."""
        return f"{self.path}, line {self.first_line + row}"

    def column(self, name: str, option: str = "") -> list[Any]:
        """Return the values of a column that is read.

        Args:
            name: Of the column.
            option: What names another one, for the error; empty where nothing does.

        Raises:
            DataError: If there is no such column.
        """
        if name not in self.names:
            hint = did_you_mean(name, self.names)
            other = f"; {option} names another" if option else ""
            raise DataError(
                f"{self.path}: there is no column {name!r}{hint}"
                f" (it has {', '.join(self.names[:12])}{other})"
            )
        return self.values(name)

    def check_new(self, names: list[str]) -> None:
        """Refuse answers whose columns are there already.

        Raises:
            DataError: If one is.
        """
        both = [name for name in names if name in self.names]
        if both:
            raise DataError(
                f"{self.path}: it has a column {both[0]!r} already, which the answers need; rename"
                " it"
            )


class Frame(Table):
    """A CSV, TSV or parquet file.

    Args:
        path: The file.
        first_line: Line of the first row.
        frame: What it holds.
        plain: Whether it is an official GLUE file: no quotes mean anything.
        header: Whether the columns' names stand in it.
    """

    def __init__(
        self, path: Path, first_line: int, frame: pd.DataFrame, plain: bool, header: bool
    ) -> None:
        super().__init__(path, first_line)
        self.frame = frame
        self.plain = plain
        self.header = header

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame.columns]

    def values(self, name: str) -> list[Any]:
        """Return the values of a column."""
        return list(self.frame.iloc[:, self.names.index(name)])

    def written(self, answers: Columns) -> bytes:
        """Return the file with further columns."""
        whole = self.frame.assign(**{name: _typed(values) for name, values in answers.items()})
        if self.path.suffix == ".parquet":
            packed = io.BytesIO()
            whole.to_parquet(packed, index=False)
            return packed.getvalue()
        for name in answers:
            whole[name] = [_as_text(value) for value in answers[name]]
        if self.plain:
            rows = whole.fillna("").astype(str).itertuples(index=False, name=None)
            lines = [self.names + list(answers)] if self.header else []
            text = "".join("\t".join(row) + "\n" for row in (*lines, *rows))
        else:
            separator = "\t" if self.path.suffix == ".tsv" else ","
            text = whole.to_csv(index=False, sep=separator, lineterminator="\n")
        return text.encode("utf-8", "surrogatepass")


class Objects(Table):
    """A file of JSON lines; each keeps its values as they are.

    Args:
        path: The file.
        rows: Its objects.
        lines: Line of each.
    """

    def __init__(self, path: Path, rows: list[dict[str, Any]], lines: list[int]) -> None:
        super().__init__(path, 1)
        self.rows = rows
        self.lines = lines

    @property
    def names(self) -> list[str]:
        """Names that any of the objects has."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def values(self, name: str) -> list[Any]:
        """Return the values under a name."""
        return [row.get(name) for row in self.rows]

    def line(self, row: int) -> str:
        """Name a row by its line."""
        return f"{self.path}, line {self.lines[row]}"

    def written(self, answers: Columns) -> bytes:
        """Return the objects with further values."""
        wholes = (
            {**row, **{name: values[at] for name, values in answers.items()}}
            for at, row in enumerate(self.rows)
        )
        # Half characters, which JSON can spell, stay spelt.
        lines = (json.dumps(whole, ensure_ascii=not _readable(whole)) for whole in wholes)
        return "".join(f"{line}\n" for line in lines).encode("utf-8")


class SquadFile(Table):
    """A file in SQuAD's own layout; each question keeps its place and gets its answer.

    Args:
        path: The file.
        content: What it holds.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        super().__init__(path, 1)
        self.content = content
        try:
            self.asked = [
                (paragraph["context"], asked)
                for article in content["data"]
                for paragraph in article["paragraphs"]
                for asked in paragraph["qas"]
            ]
            self.texts = {
                "question": [asked["question"] for _, asked in self.asked],
                "context": [context for context, _ in self.asked],
                "id": [str(asked["id"]) for _, asked in self.asked],
            }
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}: not a SQuAD file, which has data, paragraphs, context, qas, id and"
                f" question ({type(error).__name__}: {error})"
            ) from error
        if not self.asked:
            raise DataError(f"{path}: there are no questions")

    @property
    def names(self) -> list[str]:
        """What a question has."""
        return list(self.texts)

    def values(self, name: str) -> list[Any]:
        """Return the texts of all questions or paragraphs."""
        return list(self.texts[name])

    def line(self, row: int) -> str:
        """Name a question by its id."""
        return f"{self.path}, question {self.texts['id'][row]}"

    def written(self, answers: Columns) -> bytes:
        """Return the file with the answers in its questions."""
        for at, (_, asked) in enumerate(self.asked):
            asked |= {name: values[at] for name, values in answers.items()}
        return (json.dumps(self.content, ensure_ascii=False) + "\n").encode("utf-8")


def _readable(row: Any) -> bool:
    """Whether all texts of an object can be written as they are: no half characters."""
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _typed(values: list[Any]) -> Any:
    numbers = all(value is None or isinstance(value, float) for value in values)
    return pd.Series(values, dtype="float64") if numbers else pd.Series(values, dtype="object")


def _as_text(value: Any) -> str:
    """Return a value as files of text have it: six digits of a number, nothing for None."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def as_line(values: list[Any]) -> str:
    """Return values as one line, with tabs between them and none within."""
    return "\t".join(" ".join(_as_text(value).split()) for value in values)
