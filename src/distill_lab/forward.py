"""Calling any transformers model on a batch, with only the outputs that are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from distill_lab.attention import caught
from distill_lab.spans import span_logits
from distill_lab.types import Attention, Batch, Outputs, Wanted


def forward(model: PreTrainedModel, batch: Batch, wanted: Wanted | None = None) -> Outputs:
    """Run a model on a batch.

    Args:
        model: A transformers model with a head; takes the inputs that its `forward` names.
        batch: Padded rows.
        wanted: What to return besides the logits.

    Returns:
        Logits `[answers, classes]` and hidden states in float32, and what else is wanted.

    Raises:
        ModelError: If attention is wanted and the model does not give it.
    """
    wanted = wanted or Wanted()
    accepted = _accepted(type(model).forward)
    inputs = {
        name: value.to(model.dtype) if value.is_floating_point() else value
        for name, value in batch.inputs.items()
        if name in accepted
    }
    states = bool(wanted.hidden_states)
    attention: dict[int, Attention] = {}
    looking = caught(model, wanted.attention, attention) if wanted.attention else nullcontext()
    with looking, _only_asked(model, batch) as picked:
        answer: Any = model(**inputs, output_hidden_states=states, return_dict=True)
    return Outputs(
        _logits(answer, batch, picked),
        {i: answer.hidden_states[i].float() for i in wanted.hidden_states},
        attention,
    )


@contextmanager
def _only_asked(model: PreTrainedModel, batch: Batch) -> Iterator[list[bool]]:
    """Let a language model predict words only where it is asked.

    Its last layer is as wide as the vocabulary, and of masked language modelling six of seven
    predictions are not looked at.

    Yields:
        A list that is not empty once the last layer has run on the asked tokens alone.
    """
    picked: list[bool] = []
    # What is compiled would keep the first batch's hook.
    asks = batch.form == "tokens" and model._compiled_call_impl is None
    last: nn.Module | None = model.get_output_embeddings() if asks else None
    if last is None:
        yield picked
        return

    def pick(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        states, asked = given[0], batch.asked
        if asked is None or states.shape[:-1] != asked.shape:
            return None
        picked.append(True)
        return states[asked][None], *given[1:]

    handle = last.register_forward_pre_hook(pick)
    try:
        yield picked
    finally:
        handle.remove()


def _logits(answer: Any, batch: Batch, picked: list[bool]) -> Tensor:
    if batch.form == "spans":
        return span_logits(answer.start_logits, answer.end_logits, batch.mask)
    logits: Tensor = answer.logits
    if batch.form == "tokens":
        logits = logits[0] if picked else logits[batch.asked]
    return logits.float()


@lru_cache
def _accepted(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
