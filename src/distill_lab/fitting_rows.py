"""How many rows fit the memory at once: what `batch_size=auto` finds.

The longest rows go forward and backward, 1 first and then more, up to all of an optimizer step.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from distill_lab import ranks
from distill_lab.budget import Mixed, autocast
from distill_lab.memory import Peak, available, ran_out
from distill_lab.modules.base import TrainedModel
from distill_lab.tasks.batching import Positions
from distill_lab.tasks.model_rows import ModelRows

_SHARE = 0.75  # of what is left: a training takes more than its trial, and other processes move it
_MOMENTS = 2  # AdamW keeps two values for each weight, from the first step on


def fitting_rows(
    module: TrainedModel,
    rows: ModelRows,
    most: int,
    device: torch.device,
    mixed: Mixed,
) -> int:
    """Return the largest part of an optimizer step that fits.

    Weights, buffers and gradients are as before. On a CPU, whose system would rather end a process
    than refuse it memory, a size is not tried that would take more than is left, going by the sizes
    before.

    Args:
        module: What is trained.
        rows: Its training rows.
        most: Rows of an optimizer step; what is returned divides it.
        device: Where it is trained.
        mixed: Half precision of its autocast.

    Raises:
        RuntimeError: If there is no memory for a single row.
    """
    lengths = np.asarray(rows.lengths)
    longest = np.argsort(-lengths, kind="stable")
    sizes = [n for n in range(1, most + 1) if most % n == 0 and n <= len(rows)]
    found = 1
    with _as_in_training(module, device):
        room, peak, taken = _SHARE * available(device), Peak(), dict[int, int]()
        for size in sizes:
            if device.type == "cpu" and _foreseen(size, taken) > room:
                break
            if not _fits(module, rows, Positions(longest[:size].tolist()), device, mixed):
                break
            found = size
            taken[size] = peak.grown() or 0
    return min(ranks.gathered(found))


def _fits(
    module: TrainedModel,
    rows: ModelRows,
    positions: Positions,
    device: torch.device,
    mixed: Mixed,
) -> bool:
    positions.per_step, positions.draw = {}, 0
    moments: list[torch.Tensor] = []
    try:
        trained = [p for p in module.parameters() if p.requires_grad]
        moments = [torch.ones_like(p) for p in trained for _ in range(_MOMENTS)]
        batch = rows.__getitems__(positions).to(device)
        with autocast(mixed, device):
            loss = module.loss(batch)
        loss.backward()
        return True
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error) or len(positions) == 1:
            raise
        return False
    finally:
        moments.clear()
        module.zero_grad(set_to_none=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _foreseen(size: int, taken: dict[int, int]) -> float:
    """Return what a size will take, in a line through the two before; 0 if nothing is known."""
    known = [(n, need) for n, need in sorted(taken.items()) if need]
    if not known:
        return 0
    last, need = known[-1]
    if len(known) == 1:
        return need / last * size
    earlier, less = known[-2]
    return need + max(need - less, 0) / (last - earlier) * (size - last)


@contextmanager
def _as_in_training(module: TrainedModel, device: torch.device) -> Iterator[None]:
    """Have a module on its device and in training mode; leave nothing of a trial in it."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    module.to(device).train()
    try:
        yield
    finally:
        for name, value in module.named_buffers():
            if name in buffers:
                value.copy_(buffers[name])
        module.cpu()
