"""Whether a teacher's signals are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import check_temperature

When = Literal["auto", "on", "off"]
Kept = Literal["bfloat16", "float32"]


@dataclass(frozen=True)
class Caching:
    """Whether a teacher's signals are kept.

    Attributes:
        when: "on" keeps them, "off" runs the teacher for every batch; "auto" keeps them where they
            fit, unless the training is so short that it never sees all rows.
        max_gb: Disk that the signals of one teacher may take, in GB of 10**9 bytes.
        dtype: What hidden states and attention are kept in; logits are kept in float32.
        top_k: How many logits of a row are known to the student, the largest; None for all. A
            teacher that is not kept gives no more.
        temperatures: At which the mass outside these is kept; None for those of the objective.

    Raises:
        ConfigError: If a number is out of its range.
    """

    when: When = "auto"
    max_gb: float = 10.0
    dtype: Kept = "bfloat16"
    top_k: int | None = None
    temperatures: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.max_gb > 0:
            raise ConfigError(f"teacher.cache_max_gb={self.max_gb}: more than 0 is needed")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"teacher.cache_top_k={self.top_k}: at least 1, or null for all")
        if self.temperatures is not None and not self.temperatures:
            raise ConfigError(
                "teacher.cache_temperatures=[]: at least one is needed, or null for the objective's"
            )
        for each in self.temperatures or ():
            check_temperature(each, "teacher.cache_temperatures")
