"""Calling any transformers model on a batch, with only the outputs that are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import nn

from distill_lab.types import Batch, Needs, Outputs


def forward(model: nn.Module, batch: Batch, needs: Needs) -> Outputs:
    """Run a model on a batch.

    Args:
        model: A transformers model with a head; takes the inputs that its `forward` names.
        batch: Padded rows.
        needs: What to return besides the logits.

    Returns:
        Logits in float32 `[batch, labels]`, and hidden states if they are needed.
    """
    accepted = _accepted(type(model).forward)
    inputs = {name: value for name, value in batch.inputs.items() if name in accepted}
    answer: Any = model(**inputs, output_hidden_states=needs.hidden_states, return_dict=True)
    states = tuple(answer.hidden_states) if needs.hidden_states else ()
    return Outputs(answer.logits.float(), states)


@lru_cache
def _accepted(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
