"""What the benchmarks of speed and memory share: rows of SST-2, models, our training, a bare loop.

Models are BERTs with random weights, heads of 64 and the vocabulary of a real tokeniser: how fast
they train does not depend on what they know.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from benchmarks.timing import Clock, Stopwatch
from distill_lab.budget import Budget, autocast, mixed_precision
from distill_lab.config import Config
from distill_lab.forward import forward
from distill_lab.heads import head
from distill_lab.hydra_entry import compose
from distill_lab.lab import Lab
from distill_lab.loggers import logged
from distill_lab.models import load_tokenizer
from distill_lab.modules import Distillation, FineTuning
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.parts import look_at
from distill_lab.store import Store
from distill_lab.tasks import Data, TextTask
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.rows import Rows, Splits
from distill_lab.tasks.tokens import TokenRows
from distill_lab.teachers import SignalPlan
from distill_lab.teachers.live import Live
from distill_lab.training import fit
from distill_lab.types import Batch, Fit, TeacherSource

HEAD = 64
LossOf = Callable[[PreTrainedModel, Batch], Tensor]


@dataclass(frozen=True)
class Built:
    """A configuration with what it names, the teacher's signals included."""

    config: Config
    task: TextTask
    objective: Objective
    optim: AdamW
    budget: Budget
    source: TeacherSource


class Scene:
    """Rows, a teacher, and a folder for store and runs.

    Args:
        data: Folder of SST-2 in GLUE's layout.
        tokenizer: Folder of a model whose tokeniser is used.
        rows: Training rows, drawn at random.
        folder: Where store and runs go.
        warmup: Steps that stopwatches leave out.
        cpu: Whether stopwatches count computing alone.
        layers: Of the teacher, and of the student.
        width: Of both.
        device: Where they are trained.
        length: Tokens of a row: rows are joined, repeated where they do not suffice, and cut;
            None leaves them as they are.
        scored: At most so many rows of selection split and evaluation sets; None takes all.
    """

    def __init__(
        self,
        data: Path,
        tokenizer: Path,
        rows: int,
        folder: Path,
        warmup: int = 0,
        cpu: bool = False,
        layers: tuple[int, int] = (12, 6),
        width: int = 256,
        device: str = "cpu",
        length: int | None = None,
        scored: int | None = 256,
    ) -> None:
        self.folder = folder
        self.device = torch.device(device)
        self.clock: dict[str, Any] = {"warmup": warmup, "cpu": cpu, "device": self.device.type}
        (self.teacher, self.student), self.width = layers, width
        self.overrides = [
            "task=glue/sst2", f"task.data_dir={data}", f"teacher.model={tokenizer}",
            f"trainer.accelerator={self.device.type}", "trainer.max_epochs=1",
            f"store_dir={folder}/store",
        ]  # fmt: skip
        parts, _ = look_at(compose(*self.overrides))
        splits = parts.task.load()
        few = {name: _some(rows, scored) for name, rows in splits.evaluation.items()}
        drawn = Splits(_some(splits.train, rows), _some(splits.selection, scored), few)
        store = Store(folder / "store")
        self.data: Data = parts.task.encode(
            drawn, load_tokenizer(str(tokenizer), "tokenizer"), store
        )
        if length:
            cut = _joined(self.data.train, rows, length)
            prints = {**self.data.fingerprints, "train": f"{length} tokens, {rows} rows"}
            self.data = replace(self.data, train=cut, max_length=length, fingerprints=prints)
        self.task, self.problem = parts.task, parts.task.problem

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that has not started."""
        return Stopwatch(**self.clock)

    def sizes(self, layers: int, width: int | None = None) -> BertConfig:
        """Return the configuration of a BERT."""
        width = width or self.width
        return BertConfig(
            vocab_size=len(self.data.tokenizer),
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=width // HEAD,
            intermediate_size=4 * width,
            **head(self.problem),
        )

    def model(self, layers: int, width: int | None = None) -> PreTrainedModel:
        """Return a new BERT; the same sizes give the same weights."""
        torch.manual_seed(layers)
        return BertForSequenceClassification(self.sizes(layers, width))

    def build(self, *overrides: str) -> Built:
        """Build what a configuration names; a teacher only where its signals are not stored."""
        clock = {"_target_": "benchmarks.timing.Clock", **self.clock}
        config = compose(
            *self.overrides, *(f"+callbacks.clock.{k}={v}" for k, v in clock.items()), *overrides
        )
        parts, budget = look_at(config)
        sizes = self.sizes(self.teacher)
        name = f"BERT {self.teacher} x {self.width}"
        teacher = Live(lambda: self.model(self.teacher), name, "", "random weights")
        parts.objective.prepare(Fit(self.problem, sizes, sizes))
        wanted = parts.objective.needs.teacher
        plan = SignalPlan(
            parts.teacher.caching, self.data, self.problem, sizes, wanted, name,
            mixed=mixed_precision(config.trainer),
        )  # fmt: skip
        lab = Lab(Store(config.store_dir), parts.optim, budget, self.device, self.folder)
        source = plan.source(teacher, lab)
        return Built(config, parts.task, parts.objective, parts.optim, budget, source)

    def distil(self, student: PreTrainedModel, built: Built) -> Stopwatch:
        """Distil as `distill-lab train` does: its module, trainer, callbacks and loggers."""
        module = Distillation(student, built.source, built.objective, built.task, built.optim)
        return self._fit(module, built)

    def finetune(self, student: PreTrainedModel, built: Built) -> Stopwatch:
        """Train on labels alone, as the lab trains a baseline."""
        return self._fit(FineTuning(student, built.task, built.optim), built)

    def _fit(self, module: Distillation | FineTuning, built: Built) -> Stopwatch:
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as out,
            logged(built.config, Path(out), "benchmark") as loggers,
        ):
            fit(module, self.data, built.budget, Path(out), "student", loggers, "benchmark")
            watch = Clock.of(module.trainer)
        torch.use_deterministic_algorithms(False)  # which a trainer leaves on
        return watch

    def bare(self, student: PreTrainedModel, built: Built, loss_of: LossOf) -> Stopwatch:
        """Train in a bare loop with the same batches, optimizer, schedule and clipping."""
        pl.seed_everything(built.budget.seed, verbose=False)
        watch = self.stopwatch()
        batches = training_batches(self.data.train, built.optim.batch_size, built.budget.seed)
        student.to(self.device)
        made = built.optim.configure(student, len(batches))
        optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
        clip = built.budget.trainer["gradient_clip_val"]
        # In Lightning's order, on which the last bit of the norm depends.
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        student.train()
        mixed = mixed_precision(built.budget.trainer)
        for batch in (each.to(self.device) for each in batches):
            with autocast(mixed, self.device):
                loss = loss_of(student, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            scheduler.step()
            watch.step(len(batch))
        watch.stop()
        return watch


def labels_alone(student: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the loss of fine-tuning, as it is usually written."""
    logits = student(**batch.inputs).logits
    return torch.nn.functional.cross_entropy(logits, batch.labels)


def distillation(built: Built) -> LossOf:
    """Return the loss that our module trains on."""
    objective, needs = built.objective, built.objective.needs

    def loss_of(student: PreTrainedModel, batch: Batch) -> Tensor:
        teacher = built.source.signals(batch, needs.teacher)
        terms = objective(forward(student, batch, needs.student), teacher, batch)
        return torch.stack([term.part(batch) for term in terms.values()]).sum()

    return loss_of


def _some(rows: Rows, count: int | None) -> Rows:
    order = np.random.default_rng(0).permutation(len(rows))
    return rows.take(order[:count])


def _joined(rows: TokenRows, count: int, length: int) -> TokenRows:
    """Return rows of one length that hold the tokens of others, one after another."""
    columns = {n: np.resize(v, count * length) for n, v in rows.columns.items()}
    offsets = np.arange(count + 1, dtype=np.int64) * length
    return TokenRows(
        np.arange(count), np.resize(rows.labels, count), columns, offsets, rows.padding
    )
