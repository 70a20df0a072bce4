"""The time of a training step with each objective, beside that of a step without."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.progress import track
from transformers import BertConfig, BertForSequenceClassification

from distill_lab.config import build, conf_dir
from distill_lab.forward import forward
from distill_lab.hydra_entry import compose
from distill_lab.objectives import Objective
from distill_lab.types import Batch, Fit, Problem

ROWS, LENGTH, CLASSES = 32, 128, 3
SETTINGS = {"minilm_v2": {"relation_heads": 32}}  # 48, the default, do not divide 256
Step = Callable[[], None]


def objectives() -> dict[str, Objective]:
    """Return every shipped objective with its defaults, and each of its stages as one."""
    found = {}
    for name in sorted(path.stem for path in (conf_dir() / "objective").glob("*.yaml")):
        one = build({**compose(f"objective={name}").objective, **SETTINGS.get(name, {})})
        for stage in range(len(one.stages)):
            own = copy.deepcopy(one)
            own.stage = stage
            found[f"{name}, stage {stage + 1}" if len(one.stages) > 1 else name] = own
    return found


class Bench:
    """Teacher, student and batch, all with random numbers, and the steps to be timed.

    Both models are without dropout, which would be work of its own.
    """

    def __init__(self) -> None:
        self.teacher = _model(12).eval().requires_grad_(False)
        self.student = _model(6).train()
        self.batch = _batch()

    def bare(self) -> None:
        """Run the passes that no distillation can avoid."""
        with torch.no_grad():
            forward(self.teacher, self.batch)
        F.cross_entropy(forward(self.student, self.batch).logits, self.batch.labels).backward()

    def step(self, objective: Objective) -> Step:
        """Return a step with an objective."""
        problem = Problem("classification", tuple("abc"[:CLASSES]))
        objective.prepare(Fit(problem, self.student.config, self.teacher.config))

        def run() -> None:
            with torch.no_grad():
                teacher = forward(self.teacher, self.batch, objective.needs.teacher)
            student = forward(self.student, self.batch, objective.needs.student)
            terms = objective(student, teacher, self.batch)
            torch.stack([term.part(self.batch) for term in terms.values()]).sum().backward()

        return run

    def seconds(self, run: Step) -> float:
        """Return how long a step takes."""
        self.student.zero_grad(set_to_none=True)
        started = time.perf_counter()
        run()
        return time.perf_counter() - started


def ratios(rounds: int, only: str = "") -> tuple[dict[str, list[float]], list[float]]:
    """Return each objective's step over its neighbours without, and the seconds of the latter.

    Args:
        rounds: How often each is measured.
        only: Text that the objectives' names must have.
    """
    bench = Bench()
    steps = {name: bench.step(one) for name, one in objectives().items() if only in name}
    found: dict[str, list[float]] = {name: [] for name in steps}
    bare: list[float] = []
    for run in (bench.bare, *steps.values()):
        bench.seconds(run)  # the first time allocates
    bare.append(bench.seconds(bench.bare))
    for _ in track(range(rounds), "rounds"):
        for name, run in steps.items():
            own = bench.seconds(run)
            bare.append(bench.seconds(bench.bare))
            found[name].append(2 * own / sum(bare[-2:]))
    return found, bare


def _model(layers: int) -> BertForSequenceClassification:
    torch.manual_seed(layers)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=4000, hidden_size=256, num_hidden_layers=layers, num_attention_heads=8,
            intermediate_size=1024, num_labels=CLASSES, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (ROWS,), generator=generator)
    lengths[0] = LENGTH
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    ids = torch.randint(5, 4000, (ROWS, LENGTH), generator=generator) * mask
    labels = torch.randint(CLASSES, (ROWS,), generator=generator)
    return Batch(torch.arange(ROWS), {"input_ids": ids, "attention_mask": mask}, labels)
