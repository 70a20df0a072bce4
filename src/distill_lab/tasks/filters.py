"""Which of a teacher's answers a student learns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from distill_lab.errors import ConfigError
from distill_lab.tasks.instructions import Final, Written

_GRAM = 4  # words that are looked at together for repetition


@dataclass(frozen=True)
class Keep:
    """What an answer must be to be learned.

    Attributes:
        correct: It comes to the row's key, where one is known (`task.key` or `task.final`).
        complete: It came to an end before `task.max_new_tokens`.
        max_tokens: Its longest length; None for any.
        repetition: Largest share of four words in a row that have stood there before; None for any.
        per_prompt: How many answers to a prompt are learned, the first that are good; None for all.

    Raises:
        ConfigError: If a value is out of its range.
    """

    correct: bool = True
    complete: bool = True
    max_tokens: int | None = None
    repetition: float | None = 0.5
    per_prompt: int | None = None

    def __post_init__(self) -> None:
        faults = [
            f"task.keep.{name}={value}: at least 1 is needed, or null for any number"
            for name, value in (("max_tokens", self.max_tokens), ("per_prompt", self.per_prompt))
            if value is not None and value < 1
        ]
        if self.repetition is not None and not 0 <= self.repetition <= 1:
            faults.append(f"task.keep.repetition={self.repetition}: a share, from 0 to 1, or null")
        if faults:
            raise ConfigError(faults)

    def choose(
        self, answers: Sequence[Written], keys: Sequence[str | None], final: Final
    ) -> tuple[list[int], Counter[str]]:
        """Return which answers are learned, and how many are not for which reason.

        Args:
            answers: In the order of their rows.
            keys: The right answer of each, None where it is not known.
            final: Finds what a text comes to.
        """
        chosen, reasons, taken = list[int](), Counter[str](), Counter[int]()
        for at, (answer, key) in enumerate(zip(answers, keys, strict=True)):
            reason = self.reason(answer, key, final)
            if not reason and self.per_prompt and taken[answer.row] >= self.per_prompt:
                reason = "one too many"
            if reason:
                reasons[reason] += 1
            else:
                taken[answer.row] += 1
                chosen.append(at)
        return chosen, reasons

    def reason(self, answer: Written, key: str | None, final: Final) -> str:
        """Return why an answer is not learned; empty where it is."""
        if not answer.text.strip():
            return "empty"
        if self.complete and not answer.complete:
            return "without an end"
        if self.max_tokens is not None and answer.tokens > self.max_tokens:
            return "too long"
        if self.repetition is not None and repeated(answer.text) > self.repetition:
            return "repetitive"
        if self.correct and key is not None and not final.right(answer.text, key):
            return "wrong"
        return ""


def repeated(text: str) -> float:
    """Return the share of four words in a row that have stood in the text before, 0 to 1."""
    words = text.split()
    grams = [tuple(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
