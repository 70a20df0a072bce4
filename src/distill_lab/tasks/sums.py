"""The embedded task of prompts: sums of two numbers, worked out digit by digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from distill_lab.errors import ConfigError
from distill_lab.generation import Sampling
from distill_lab.tasks.filters import Keep
from distill_lab.tasks.instruction import Instruction
from distill_lab.tasks.instructions import Instructions
from distill_lab.tasks.rows import Part


class Sums(Instruction):
    """Sums of two numbers; no network, no files.

    An answer works from the last digit to the first and ends with the sum, by which it is checked.
    Only some of the training rows have one; of the others no more than the sum is known.

    Args:
        name: Short name, for tables.
        digits: Digits of both numbers.
        train_rows, evaluation_rows: How many sums; no sum is in both.
        answered: Share of the training rows whose answers are written out.
        answers: Whose answers the student learns: "teacher" or "data".
        sampling: How the teacher writes.
        keep: Which of its answers are learned.
        on_policy: Share of the steps in which the student answers itself.
        write_batch: Answers that are written at once.
        metrics: As for `Instruction`.
        selection: Share of the training rows that chooses epoch, T and λ.
        selection_max: Upper bound of these rows.

    Raises:
        ConfigError: If the values do not fit together.
    """

    def __init__(
        self,
        *,
        name: str = "sums",
        digits: int = 2,
        train_rows: int = 6000,
        evaluation_rows: int = 1000,
        answered: float = 0.25,
        answers: Literal["teacher", "data"] = "teacher",
        sampling: Sampling | None = None,
        keep: Keep | None = None,
        on_policy: float = 0.0,
        write_batch: int = 128,
        metrics: Sequence[str] = ("exact", "perplexity", "accuracy"),
        selection: float = 0.1,
        selection_max: int = 200,
    ) -> None:
        if not 1 <= digits <= 9:
            raise ConfigError(f"task.digits={digits}: from 1 to 9")
        longest = len(_worked(10**digits - 1, 10**digits - 1, digits)) + 2
        super().__init__(
            name=name, train="", evaluation="", final=r"The sum is (\d+)", answers=answers,
            sampling=sampling, keep=keep, on_policy=on_policy, write_batch=write_batch,
            max_new_tokens=longest, max_length=longest + 2 * digits + 8, metrics=metrics,
            selection=selection, selection_max=selection_max,
        )  # fmt: skip
        if train_rows < 20 or evaluation_rows < 1 or train_rows + evaluation_rows > 100**digits:
            raise ConfigError(
                f"task.train_rows={train_rows} and task.evaluation_rows={evaluation_rows}: at least"
                f" 20 and 1, and not more than the {100**digits:,} sums of {digits} digits"
            )
        if not 0 < answered <= 1:
            raise ConfigError(f"task.answered={answered}: a share, above 0 and at most 1")
        self.digits = digits
        self.counts = train_rows, evaluation_rows
        self.answered = answered

    def read(self) -> tuple[Instructions, Mapping[str, Part]]:
        """Draw the sums."""
        train, evaluation = self.counts
        random, drawn = np.random.default_rng(0), dict[tuple[int, int], None]()
        while len(drawn) < train + evaluation:
            drawn.setdefault(tuple(random.integers(10**self.digits, size=2).tolist()))
        pairs = list(drawn)
        known = random.random(train) < self.answered
        return (
            self._rows(pairs[:train], known.tolist()),
            {"evaluation": self._rows(pairs[train:], [True] * evaluation)},
        )

    def _rows(self, pairs: Sequence[tuple[int, int]], known: Sequence[bool]) -> Instructions:
        n = self.digits
        return Instructions(
            np.arange(len(pairs)),
            [(("user", f"{a:0{n}d} + {b:0{n}d} = ?"),) for a, b in pairs],
            [_worked(a, b, n) if one else None for (a, b), one in zip(pairs, known, strict=True)],
            [str(a + b) for a, b in pairs],
            self.name,
        )


def _worked(a: int, b: int, digits: int) -> str:
    """Return a sum with its way, from the last digit to the first."""
    told, carry = list[str](), 0
    for place in range(digits):
        first, second = a // 10**place % 10, b // 10**place % 10
        total = first + second + carry
        told.append(f"{first}+{second}+{carry}={total}")
        carry = total // 10
    return f"{', '.join(told)}. The sum is {a + b}"
