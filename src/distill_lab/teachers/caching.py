"""Whether a teacher's signals are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distill_lab.errors import ConfigError

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

    Raises:
        ConfigError: If the limit is not positive.
    """

    when: When = "auto"
    max_gb: float = 10.0
    dtype: Kept = "bfloat16"

    def __post_init__(self) -> None:
        if not self.max_gb > 0:
            raise ConfigError(f"teacher.cache_max_gb={self.max_gb}: more than 0 is needed")
