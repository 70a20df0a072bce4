"""How long a network takes on this machine, by a short trial with random weights."""

from __future__ import annotations

import itertools
import statistics
import time

import torch
from transformers import PretrainedConfig

from distill_lab.forward import forward
from distill_lab.heads import new_network
from distill_lab.store import digest
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.types import Problem

_BATCHES = 9  # of which the first warms up
_SECONDS = 5.0


class Speed:
    """Measures networks, each once.

    Args:
        device: Where they are to run.
        problem: What they answer.
    """

    def __init__(self, device: torch.device, problem: Problem) -> None:
        self.device = device
        self.problem = problem
        self._known: dict[str, float] = {}

    def parameters(self, config: PretrainedConfig) -> int:
        """Return how many weights a network of this configuration has."""
        with torch.device("meta"):
            return sum(p.numel() for p in new_network(config, self.problem).parameters())

    def seconds(
        self, config: PretrainedConfig, rows: ModelRows, batch_size: int, train: bool
    ) -> float:
        """Return the seconds that a row takes.

        Args:
            config: Of the network.
            rows: Batches are drawn from them as in training.
            batch_size: Rows of a batch.
            train: Whether the network is trained, or only answers.
        """
        key = digest([config.to_json_string(), batch_size, train, len(rows), rows.tokens])
        if key not in self._known:
            self._known[key] = self._measure(config, rows, batch_size, train)
        return self._known[key]

    def _measure(
        self, config: PretrainedConfig, rows: ModelRows, batch_size: int, train: bool
    ) -> float:
        model = new_network(config, self.problem).train(train).requires_grad_(train)
        model.to(self.device)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True) if train else None
        started, each = time.perf_counter(), list[float]()
        rows = rows.labelled() or rows  # those that the teacher learns from, if there are any
        for batch in itertools.islice(training_batches(rows, batch_size, seed=0), _BATCHES):
            before = time.perf_counter()
            answer = forward(model, batch.to(self.device)).logits
            if optimizer is not None:
                answer.square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
            answer.sum().item()  # waits for the device
            each.append((time.perf_counter() - before) / len(batch))
            if time.perf_counter() - started > _SECONDS:
                break
        return statistics.median(each[1:] or each)  # the first one warms up
