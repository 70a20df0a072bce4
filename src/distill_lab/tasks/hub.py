"""Datasets by their names on the hub."""

from __future__ import annotations

from typing import Any

from distill_lab.errors import DataError


def load_hub(name: str, config: str | None, split: str) -> Any:
    """Load one split of a hub dataset.

    Raises:
        DataError: If it can be found neither in the cache nor over the network.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DataError(
            f"task: {name}/{config or split} is neither in the hub cache nor within reach, or has"
            f" no such part ({reason}); name local files, check the name, or go online"
        ) from error
