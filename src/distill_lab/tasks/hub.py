"""Datasets by their names on the hub."""

from __future__ import annotations

from typing import Any

from distill_lab.errors import DataError, first_line, go_online


def load_hub(name: str, config: str | None, split: str, key: str = "task.data_dir") -> Any:
    """Load one split of a hub dataset.

    Args:
        name: Of the dataset.
        config: Which of its configurations.
        split: Which split.
        key: Configuration key that names a folder or files instead.

    Raises:
        DataError: If it can be found neither in the cache nor over the network.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)[:200]
        raise DataError(
            f"task: {name}/{config or split} is neither in the hub cache nor within reach, or has"
            f" no such part ({reason}); name local files ({key}=), check the name, or {go_online()}"
        ) from error
