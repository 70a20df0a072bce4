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
        raise DataError(
            f"task: {name}/{config or split} is neither in the hub cache nor within reach"
            f" ({type(error).__name__}); give its folder with task.data_dir=, or a network"
        ) from error
