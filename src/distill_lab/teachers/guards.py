"""Teachers that do not fit a task, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PretrainedConfig

from distill_lab.errors import ConfigError, ModelError
from distill_lab.tasks import Data, TextTask


def check_fits(config: PretrainedConfig, data: Data, name: str) -> None:
    """Refuse a teacher whose embeddings are too few or too short for the rows.

    Args:
        config: The teacher's configuration.
        data: The encoded rows.
        name: Folder or hub name, for the error.

    Raises:
        UsageError: If its vocabulary or its longest input is too small.
    """
    vocabulary = getattr(config, "vocab_size", None)
    if vocabulary is not None and len(data.tokenizer) > vocabulary:
        raise ModelError(
            f"teacher.model={name}: its tokeniser has {len(data.tokenizer)} tokens, its embeddings"
            f" only {vocabulary}; the folder mixes two models"
        )
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and data.max_length > longest:
        raise ConfigError(
            f"task.max_length={data.max_length}: teacher.model={name} takes at most {longest}"
            " tokens"
        )


def _lower(names: Sequence[str]) -> list[str]:
    return [name.lower() for name in names]


def check_labels(config: PretrainedConfig, task: TextTask, name: str) -> None:
    """Refuse a fine-tuned teacher that answers another set of labels than the task's.

    Args:
        config: The teacher's configuration.
        task: Names the labels.
        name: Folder or hub name, for the error.

    Raises:
        ModelError: If their number, names or order differ.
    """
    wanted = task.problem.labels
    remedy = "give an encoder, or fine-tune it anew with teacher.finetune=true"
    if config.num_labels != len(wanted):
        raise ModelError(
            f"teacher.model={name}: it answers {config.num_labels} labels, the task {task.name} has"
            f" {len(wanted)}; {remedy}"
        )
    names = [str(label) for _, label in sorted((config.id2label or {}).items())]
    generic = all(label.upper().startswith("LABEL_") for label in names)
    if len(wanted) > 1 and not generic and _lower(names) != _lower(wanted):
        raise ModelError(
            f"teacher.model={name}: its labels are {', '.join(names)}, the task's are"
            f" {', '.join(wanted)}, in this order; {remedy}"
        )
