"""How much disk a teacher's signals take."""

from __future__ import annotations

import torch
from transformers import PretrainedConfig

from distill_lab.attention import head_width
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.top_logits import TopK
from distill_lab.types import Problem, Wanted


def top_bytes(top: TopK, classes: int) -> int:
    """Return the bytes that the largest logits of a row take."""
    return top.k * (4 + index_dtype(classes).itemsize) + 4 * len(top.temperatures)


def signal_bytes(
    rows: ModelRows,
    wanted: Wanted,
    config: PretrainedConfig,
    problem: Problem,
    dtype: str,
    top: TopK | None,
) -> int:
    """Return how many bytes signals take."""
    numbers = 0  # of a token
    if wanted.hidden_states:
        numbers += config.hidden_size * len(wanted.hidden_states)
    if wanted.attention:
        numbers += 3 * config.num_attention_heads * head_width(config) * len(wanted.attention)
    each = 2 if dtype == "bfloat16" else 4
    tokens = rows.tokens
    logits = 4 * problem.num_labels if top is None else top_bytes(top, problem.num_labels)
    of_logits = logits * (tokens if problem.kind == "spans" else int(rows.answers.sum()))
    return len(rows) * 16 + of_logits + tokens * numbers * each


def index_dtype(classes: int) -> torch.dtype:
    """Return the smallest type that counts classes."""
    return torch.int16 if classes <= 2**15 else torch.int32
