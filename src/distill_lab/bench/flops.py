"""How much a model computes for a row."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from distill_lab.bench.passes import Arrays


def flops(model: PreTrainedModel, inputs: Arrays) -> int:
    """Return the floating-point operations of one forward pass.

    Counted by torch: matrix products and convolutions, a multiplication and an addition as two;
    not what is done element by element (activations, normalisation, softmax), nor looking up
    embeddings.

    Args:
        model: In evaluation mode, on the CPU.
        inputs: One row, by the names of the inputs.
    """
    accepted = inspect.signature(type(model).forward).parameters
    given = {name: torch.from_numpy(each) for name, each in inputs.items() if name in accepted}
    with _written_out(model), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(**given)
    return int(counter.get_total_flops())


@contextmanager
def _written_out(model: PreTrainedModel) -> Iterator[None]:
    """Let attention be computed by matrix products: those of the CPU's own kernel are not seen."""
    before = getattr(model.config, "_attn_implementation", None)
    try:
        model.set_attn_implementation("eager")
        yield
    finally:
        if before is not None:
            model.set_attn_implementation(before)
