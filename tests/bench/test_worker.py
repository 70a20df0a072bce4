"""The measuring process, from inside: clock, memory, operations; and how it ends."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from distill_lab.bench import memory
from distill_lab.bench.energy import NoCounter
from distill_lab.bench.flops import flops
from distill_lab.bench.machine import processor
from distill_lab.bench.networks import Spec
from distill_lab.bench.process import Measured
from distill_lab.bench.texts import FixedTexts
from distill_lab.bench.worker import Worker, answer
from distill_lab.errors import ModelError
from distill_lab.types import Problem
from tests.stacks import stack

PROBLEM = asdict(Problem("classification", ("a", "b", "c")))


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """A tiny model and rows for it."""
    model = stack("bert")
    model.save_pretrained(tmp_path / "model")
    FixedTexts([4, 8]).read_by(model.config, None, 3).save(tmp_path / "passes")
    path, passes = str(tmp_path / "model"), str(tmp_path / "passes")
    return Spec(path, PROBLEM, None, "eager", "cpu", 1, passes)


def test_seconds_are_those_of_the_clock(spec: Spec) -> None:
    """The clock shows squares: row i takes (2i + 1)² - (2i)² seconds."""
    ticks = count()
    worker = Worker(spec, lambda: float(next(ticks) ** 2))
    assert answer(worker, "load") == {"saved_bytes": None}
    assert answer(worker, "alone")["seconds"] == [4 * i + 1 for i in range(50)]
    assert answer(worker, "batched") == {"seconds": 201.0, "rows": 6}


def test_short_passes_are_repeated_to_half_a_second(spec: Spec) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.06  # a pass takes 0.06 s, however often it is repeated
        return now[0]

    worker = Worker(spec, clock)
    worker.load()
    assert worker.batched()["rows"] == 6
    worker.settle()
    assert worker.passes == math.ceil(0.5 / 0.06) == 9
    assert worker.batched()["rows"] == 9 * 6


def test_memory_is_that_of_the_model(tmp_path: Path, spec: Spec) -> None:
    """80 MB of layers show; the process without the model does not."""
    large = BertConfig(
        vocab_size=50, hidden_size=1000, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8000, num_labels=3,
    )  # fmt: skip
    BertForSequenceClassification(large).save_pretrained(tmp_path / "large")
    found = Measured(
        Spec(str(tmp_path / "large"), PROBLEM, None, "eager", "cpu", 1, spec.passes),
        tmp_path / "work",
        NoCounter("a test"),
    )
    try:
        found.load()
        found.settle()
        found.measure()
        taken = found.memory()
    finally:
        found.end()
    weights = sum(f.stat().st_size for f in (tmp_path / "large").glob("*.safetensors"))
    assert weights > 80e6
    assert weights < taken.model < 1.5 * weights
    assert taken.process > taken.model + 100e6  # torch itself


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own numbers")
def test_a_peak_is_seen_and_forgotten() -> None:
    memory.forget_peak()
    before = memory.peak_bytes()
    block = np.ones(10_000_000)
    assert memory.peak_bytes() - before >= 70e6
    del block
    memory.forget_peak()
    assert memory.peak_bytes() - before < 40e6
    assert abs(memory.resident_bytes() - memory.peak_bytes()) < 40e6


def test_a_system_that_does_not_tell_gives_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "such")
    memory.forget_peak()
    assert memory.resident_bytes() == memory.peak_bytes() > 50e6


class Product(nn.Module):
    """One matrix product, as transformers calls a model."""

    config = BertConfig()

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, 30)

    def set_attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).relu()


def test_operations_of_a_linear_layer_are_two_for_each_weight_and_row() -> None:
    given = {"x": np.ones((7, 40), dtype=np.float32), "of no use": np.ones(3)}
    assert flops(Product(), given) == 2 * 7 * 40 * 30  # type: ignore[arg-type]


def test_operations_of_attention_are_counted_whichever_kernel_computes_it() -> None:
    model, n, width, inner = stack("bert"), 10, 16, 32
    before = model.config._attn_implementation
    row = np.ones((1, n), dtype=np.int64)
    found = flops(model, {"input_ids": row, "attention_mask": row})
    layer = 4 * n * width * width + 2 * n * width * inner + 2 * n * n * width
    head = width * width + width * 3
    assert found == 2 * (4 * layer + head)
    assert model.config._attn_implementation == before


def test_a_fault_of_the_model_is_its_answer(spec: Spec) -> None:
    worker = Worker(spec)
    worker.load()
    worker.single = [lambda: 1 / 0]  # type: ignore[list-item, return-value]
    assert answer(worker, "alone") == {"error": "ZeroDivisionError: division by zero"}


def test_a_process_that_ends_is_told_with_what_it_said(tmp_path: Path, spec: Spec) -> None:
    found = Measured(spec, tmp_path / "work", NoCounter("a test"))
    found.process.kill()
    with pytest.raises(ModelError, match="the system ended its process"):
        found.load()
    found.end()


def test_a_processor_has_a_name(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmodel name\t: another\n")
    assert processor(file) == "AMD EPYC 7B13"
    assert processor(tmp_path / "nothing") != ""
