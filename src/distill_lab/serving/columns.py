"""Which columns a task reads, and the rows that are asked, as it would read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill_lab.tasks import Images, Instruction, Squad, Task
from distill_lab.tasks.instructions import Message, messages_of


@dataclass(frozen=True)
class Asked:
    """Rows without labels.

    Attributes:
        first: Texts, questions, prompts (texts or lists of messages), or paths of pictures.
        second: Second texts or paragraphs; None where the task reads one.
        name: Names a row by its place, for errors.
        column: Where the first stands, for errors.
    """

    first: list[Any]
    second: list[Any] | None
    name: Callable[[int], str]
    column: str = "text"

    def complete(self, at: int) -> bool:
        """Whether a row has all that is read."""
        return _there(self.first[at]) and (self.second is None or _there(self.second[at]))

    def take(self, at: Sequence[int]) -> Asked:
        """Return some rows, with texts that any tokeniser takes."""
        first = [_sound(self.first[each]) for each in at]
        second = None if self.second is None else [_sound(self.second[each]) for each in at]
        return replace(self, first=first, second=second, name=lambda each: self.name(at[each]))

    def prompts(self) -> list[tuple[Message, ...]]:
        """Return the messages of each row.

        Raises:
            DataError: If one is neither a text nor messages.
        """
        return [
            messages_of(value, self.name(at), self.column) for at, value in enumerate(self.first)
        ]


def _there(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else hasattr(value, "__len__")


def _sound(value: Any) -> Any:
    """Return a text without half characters, which JSON can spell and no tokeniser takes."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode("utf-8")


def read_by(task: Task) -> tuple[str, str | None]:
    """Return the columns that a task reads, the second one for pairs only."""
    if isinstance(task, Squad):
        return "question", "context"
    if isinstance(task, Images):
        return "path", None
    if isinstance(task, Instruction):
        return task.columns[0], None
    columns: Any = getattr(task, "tsv", None) or getattr(task, "columns", None)
    if columns is not None:
        return str(columns.text), None if columns.pair is None else str(columns.pair)
    return str(getattr(task, "text", "text")), None
