"""JSON from files that others have written."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str | bytes) -> Any:
    """Return what a text of JSON holds.

    Args:
        text: As read.

    Raises:
        ValueError: If it is none, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
