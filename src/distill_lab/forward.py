"""Calling any transformers model on a batch, with only the outputs that are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel

from distill_lab.attention import caught
from distill_lab.types import Attention, Batch, Outputs, Wanted


def forward(model: PreTrainedModel, batch: Batch, wanted: Wanted | None = None) -> Outputs:
    """Run a model on a batch.

    Args:
        model: A transformers model with a head; takes the inputs that its `forward` names.
        batch: Padded rows.
        wanted: What to return besides the logits.

    Returns:
        Logits `[batch, labels]` and hidden states in float32, and what else is wanted.

    Raises:
        ModelError: If attention is wanted and the model does not give it.
    """
    wanted = wanted or Wanted()
    accepted = _accepted(type(model).forward)
    inputs = {name: value for name, value in batch.inputs.items() if name in accepted}
    states = bool(wanted.hidden_states)
    attention: dict[int, Attention] = {}
    with caught(model, wanted.attention, attention) if wanted.attention else nullcontext():
        answer: Any = model(**inputs, output_hidden_states=states, return_dict=True)
    return Outputs(
        answer.logits.float(),
        {i: answer.hidden_states[i].float() for i in wanted.hidden_states},
        attention,
    )


@lru_cache
def _accepted(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
