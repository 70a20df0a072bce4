"""Scoring a model on the evaluation sets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from distill_lab.memory import ran_out
from distill_lab.scores import Scores
from distill_lab.tasks import Data, Task
from distill_lab.tasks.batching import scoring_batches
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Batch

log = logging.getLogger(__name__)
T = TypeVar("T")
SELECTION = "selection"
"""Name of the selection split among answers, where it settles something."""


def answer(
    task: Task,
    model: PreTrainedModel,
    rows: ModelRows,
    device: torch.device,
    name: str,
    batch_size: int = 128,
) -> Tensor:
    """Return what a task keeps of a model's answers, `[rows, ...]`, in the order of the rows.

    Args:
        task: Says what that is.
        model: Put in evaluation mode and moved to the device.
        rows: What to answer.
        device: Where to compute.
        name: What the progress bar says.
        batch_size: Rows that are answered at once, at most.
    """
    model.eval().to(device)
    batches = scoring_batches(rows, batch_size)
    fits = True
    try:
        with torch.inference_mode():
            parts = [task.answer(model, batch, rows).cpu() for batch in walk(batches, device, name)]
    except (MemoryError, RuntimeError) as error:
        if batch_size == 1 or not ran_out(error):
            raise
        fits = False
    if not fits:  # outside of `except`, which holds what lies in memory
        log.info("%s: %d rows at once do not fit the memory, tries half", name, batch_size)
        return answer(task, model, rows, device, name, batch_size // 2)
    order = torch.from_numpy(batches.batch_sampler.order)  # type: ignore[union-attr]
    kept = torch.cat(parts)
    return torch.empty_like(kept).index_copy_(0, order, kept).clone()


def walk(batches: DataLoader[Batch], device: torch.device, name: str) -> Iterator[Batch]:
    """Give all batches on a device, with a progress bar.

    Args:
        batches: What to give.
        device: Where they are to lie.
        name: What the progress bar says.
    """
    for batch in shown(batches, len(batches), name):
        yield batch.to(device)


def shown(items: Iterable[T], count: int, name: str) -> Iterable[T]:
    """Give items one by one, with a progress bar where somebody looks.

    Args:
        items: What to give.
        count: How many they are.
        name: What the progress bar says.
    """
    console = Console(stderr=True)
    return track(
        items, name, count, console=console, transient=True, disable=not console.is_terminal
    )  # fmt: skip


def answers(
    task: Task, model: PreTrainedModel, data: Data, device: torch.device, name: str
) -> dict[str, Tensor]:
    """Return a model's answers for each evaluation set; the model is left on the CPU."""
    asked = dict(data.evaluation)
    if task.settles:
        asked[SELECTION] = data.selection
    found = {
        part: answer(task, model, rows, device, f"{name}: {part}") for part, rows in asked.items()
    }
    model.cpu()  # the next training's memory is its own
    return found


def score(task: Task, data: Data, given: Mapping[str, Tensor]) -> Scores:
    """Compute the metrics of all evaluation sets.

    The metrics of the main set have their plain names; those of another are named
    `metric_set`, for example `accuracy_mismatched`.
    """
    metrics: dict[str, float] = {}
    for position, (part, rows) in enumerate(data.evaluation.items()):
        scores = task.score(given[part], rows)
        if task.settles:
            chosen = given[SELECTION]
            scores |= task.settled_scores(given[part], rows, chosen, data.selection)
        for name, value in scores.items():
            metrics[name if position == 0 else f"{name}_{part}"] = value
    return Scores(metrics, dict(given))
