"""How much heads, feed-forward units and hidden dimensions matter to the loss."""

from __future__ import annotations

import copy
from collections import defaultdict

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill_lab.forward import forward
from distill_lab.objectives.hard import hard_loss
from distill_lab.students.narrow import Kept, Sizes, axes_of, read_by
from distill_lab.students.stack import layer_of, stack_name
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.model_rows import ModelRows

_BATCH = 8
_WHOLE = -1  # stands for all layers


def most_important(model: PreTrainedModel, rows: ModelRows, count: int, target: Sizes) -> Kept:
    """Return what a narrower student keeps of a network.

    A part's importance is the loss's first-order change if it were taken away: the absolute value
    of the sum of weight times gradient over the weights that read the part's output, which is the
    gradient to a gate on it (Michel et al. 2019, arXiv 1905.10650, for heads; Hou et al. 2020,
    DynaBERT, arXiv 2004.04037, for units too). For hidden dimensions the weights are those of the
    norms, each of which is such a gate. Taken from batches of 8 rows and summed; on the CPU, so
    that a student is the same whatever device its teacher has run on.

    Args:
        model: The teacher; it is not changed.
        rows: Rows with labels.
        count: How many of them are looked at.
        target: The student's sizes.
    """
    scores = _scores(model, rows, count)
    layers = range(model.config.num_hidden_layers)
    return Kept(
        _top(scores["hidden", _WHOLE], target.hidden),
        {layer: _top(scores["heads", layer], target.key_heads) for layer in layers},
        {layer: _top(scores["units", layer], target.units) for layer in layers},
    )


def _top(scores: Tensor, keep: int) -> Tensor:
    return scores.topk(keep).indices.sort().values


def _scores(model: PreTrainedModel, rows: ModelRows, count: int) -> dict[tuple[str, int], Tensor]:
    """Return the importance of all parts, by kind and layer."""
    probe = copy.deepcopy(model).to("cpu").eval().requires_grad_(True)  # type: ignore[arg-type]
    totals: dict[tuple[str, int], Tensor] = defaultdict(lambda: torch.zeros(()))
    seen = 0
    for batch in training_batches(rows, _BATCH, seed=0):
        probe.zero_grad(set_to_none=True)
        loss = hard_loss(forward(probe, batch).logits, batch.labels)
        (loss / len(batch)).backward()
        for key, change in _changes(probe).items():
            totals[key] = totals[key] + change.abs()
        seen += len(batch)
        if seen >= count:
            break
    return totals


def _changes(model: PreTrainedModel) -> dict[tuple[str, int], Tensor]:
    """Return weight times gradient, summed over the weights that read each part."""
    prefix, sizes = stack_name(model), Sizes.of(model.config)
    found: dict[tuple[str, int], Tensor] = {}
    for name, weight in model.named_parameters():
        if weight.grad is None:
            continue
        product = (weight * weight.grad).detach()
        module, layer = model.get_submodule(name.rpartition(".")[0]), layer_of(name, prefix)
        kind = read_by(name)
        if "norm" in type(module).__name__.lower() and weight.shape == (sizes.hidden,):
            key = ("hidden", _WHOLE)
            found[key] = found.get(key, torch.zeros_like(product)) + product
        elif kind is not None and layer is not None:
            by_input = product.sum(dim=1 - axes_of(model, name).index(kind))
            parts = sizes.key_heads if kind == "heads" else sizes.units
            found[kind, layer[0]] = by_input.view(parts, -1).sum(dim=1)
    return found
