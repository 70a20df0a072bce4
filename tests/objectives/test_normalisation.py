"""Gradient accumulation and several processes give the gradient of the whole batch."""

from __future__ import annotations

import multiprocessing as mp
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from distill_lab.config import conf_dir
from distill_lab.modules import Distillation
from distill_lab.objectives import Objective
from distill_lab.objectives.attention import AttentionTransfer
from distill_lab.objectives.combine import Combine
from distill_lab.objectives.distilbert import DistilBERT
from distill_lab.objectives.dkd import DKD
from distill_lab.objectives.hidden import Hidden
from distill_lab.objectives.hinton import Hinton
from distill_lab.objectives.jsd import JSD
from distill_lab.objectives.logit_standardized import LogitStandardized
from distill_lab.objectives.minilm import MiniLM
from distill_lab.objectives.minilm_v2 import MiniLMv2
from distill_lab.objectives.mse_logits import MseLogits
from distill_lab.objectives.pkd import PKD
from distill_lab.objectives.reverse_kl import ReverseKL
from distill_lab.objectives.sequence import Sequence
from distill_lab.objectives.skew_kl import SkewKL
from distill_lab.objectives.tinybert import TinyBERT
from distill_lab.optim import AdamW
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.tokens import TokenRows
from distill_lab.teachers import Live
from distill_lab.types import Batch, Fit, Problem
from tests.stacks import stack

OBJECTIVES: dict[str, Objective] = {
    "hinton": Hinton(temperature=2.0),
    "mse_logits": MseLogits(),
    "dkd": DKD(),
    "logit_standardized": LogitStandardized(),
    "reverse_kl": ReverseKL(),
    "jsd": JSD(),
    "skew_kl": SkewKL(),
    "distilbert": DistilBERT(),
    "hidden": Hidden(),
    "hidden cosine": Hidden(distance="cosine"),
    "attention": AttentionTransfer(),
    "attention mse": AttentionTransfer(distance="mse"),
    "minilm": MiniLM(),
    "minilm_v2": MiniLMv2(relation_heads=4),
    "pkd": PKD(),
    "tinybert": TinyBERT(),
    "sequence": Sequence(),
    "combine": Combine(
        parts={"logits": Hinton(), "inside": Hidden()}, weights={"logits": 1.0, "inside": 0.5}
    ),
}
ACROSS_ROWS = {"dist", "rkd"}  # see the rows of one batch alone, and say so
PROBLEM = Problem("classification", ("a", "b", "c"))


def rows(count: int = 12) -> TokenRows:
    """Rows of 3 to 9 tokens, so that batches of as many rows have unequal numbers of tokens."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, 10, count)
    tokens = random.integers(1, 50, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = random.integers(0, 3, count)
    return TokenRows(np.arange(count), labels, {"input_ids": tokens}, offsets, {"input_ids": 0})


def models() -> tuple[PreTrainedModel, Live]:
    teacher = Live(lambda: stack("bert"), "teacher", "", "")
    return stack("bert", num_hidden_layers=2), teacher


def loss(objective: Objective, student: PreTrainedModel, teacher: Live, batch: Batch) -> Tensor:
    objective.prepare(Fit(PROBLEM, student.config, teacher.model.config))
    module = Distillation(student, teacher, objective, None, AdamW(lr=1.0))  # type: ignore[arg-type]
    found: Tensor = module.training_step(batch, 0)["loss"]
    return found


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def batches(accumulate: int, batch_size: int) -> list[Batch]:
    return list(training_batches(rows(), batch_size, 0, accumulate))


def test_every_shipped_objective_is_tried() -> None:
    shipped = {path.stem for path in (conf_dir() / "objective").glob("*.yaml")}
    assert {name.partition(" ")[0] for name in OBJECTIVES} == shipped - ACROSS_ROWS


@pytest.mark.parametrize("name", OBJECTIVES)
def test_accumulated_gradients_are_those_of_the_whole_batch(name: str) -> None:
    objective = OBJECTIVES[name]
    student, teacher = models()
    micro = batches(accumulate=3, batch_size=4)
    assert len({batch.count("tokens") for batch in micro}) > 1
    for batch in micro:
        (loss(objective, student, teacher, batch) / 3).backward()  # as Lightning divides
    accumulated = gradients(student)
    student.zero_grad()
    whole = rows().__getitems__([int(i) for batch in micro for i in batch.ids])
    loss(objective, student, teacher, whole).backward()
    assert accumulated.keys() == gradients(student).keys()
    for key, gradient in gradients(student).items():
        torch.testing.assert_close(accumulated[key], gradient, rtol=1e-4, atol=1e-6)


def test_an_epoch_may_end_within_a_step() -> None:
    """Lightning divides by the full number of batches all the same."""
    last = batches(accumulate=5, batch_size=4)
    assert len(last) == 3 and last[0].per_step["rows"] == 12 / 5
    tokens = sum(batch.count("tokens") for batch in last)
    assert all(batch.per_step["tokens"] == tokens / 5 for batch in last)


def test_a_step_of_one_batch_is_divided_by_its_own_units() -> None:
    assert all(batch.per_step == {} for batch in batches(accumulate=1, batch_size=4))


def test_lightning_accumulates_as_we_count(tmp_path: Path) -> None:
    """One step of SGD over three micro-batches ends where one over all rows does."""

    class Sgd(Distillation):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    ends = []
    for accumulate, batch_size in ((3, 4), (1, 12)):
        student, teacher = models()
        objective = Hidden()
        objective.prepare(Fit(PROBLEM, student.config, teacher.model.config))
        module = Sgd(student.eval(), teacher, objective, None, AdamW(lr=1.0))  # type: ignore[arg-type]
        trainer = pl.Trainer(
            max_epochs=1, accumulate_grad_batches=accumulate, accelerator="cpu", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=str(tmp_path),
        )  # fmt: skip
        trainer.fit(module, training_batches(rows(), batch_size, 0, accumulate))
        ends.append({k: v.clone() for k, v in student.state_dict().items()})
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-4, atol=1e-6)


def _process(rank: int, port: str, results: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = {}
    for name, objective in OBJECTIVES.items():
        student, teacher = models()
        step = _Step(objective, student, teacher)
        # an objective may leave the head or the pooler out
        wrapped = DistributedDataParallel(step, find_unused_parameters=True)
        shares = batches(accumulate=2, batch_size=6)
        wrapped(shares[rank]).backward()  # averages over the processes
        found[name] = {k: v.numpy() for k, v in gradients(student).items()}
    if rank == 0:
        results.put(found)
    dist.barrier()
    dist.destroy_process_group()


class _Step(torch.nn.Module):
    def __init__(self, objective: Objective, student: PreTrainedModel, teacher: Live) -> None:
        super().__init__()
        self.student = student
        self.rest = [objective, teacher]

    def forward(self, batch: Batch) -> Tensor:
        return loss(self.rest[0], self.student, self.rest[1], batch)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def averaged() -> dict[str, dict[str, Any]]:
    """The gradients of two processes, each with half of the rows, by objective."""
    context = mp.get_context("spawn")
    results = context.Queue()
    port = str(29500 + os.getpid() % 2000)
    workers = [context.Process(target=_process, args=(rank, port, results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found: dict[str, dict[str, Any]] = results.get(timeout=240)
    for worker in workers:
        worker.join(timeout=60)
    return found


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_equal_one(name: str, averaged: dict[str, dict[str, Any]]) -> None:
    student, teacher = models()
    halves = batches(accumulate=2, batch_size=6)
    assert len({half.count("tokens") for half in halves}) > 1
    whole = rows().__getitems__([int(i) for half in halves for i in half.ids])
    loss(OBJECTIVES[name], student, teacher, whole).backward()
    own = gradients(student)
    assert averaged[name].keys() == own.keys() and len(averaged[name]) > 10
    for key, gradient in averaged[name].items():
        torch.testing.assert_close(torch.from_numpy(gradient), own[key], rtol=1e-4, atol=1e-6)
