"""What the benchmarks of speed and memory share: rows of SST-2, models, our training, a bare loop.

Models are BERTs with random weights, heads of 64 and the vocabulary of a real tokeniser: how fast
they train does not depend on what they know.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from benchmarks.timing import Clock, Stopwatch
from distill_lab.budget import Budget
from distill_lab.config import Config
from distill_lab.forward import forward
from distill_lab.hydra_entry import compose
from distill_lab.lab import Lab
from distill_lab.loggers import logged
from distill_lab.models import head, load_tokenizer
from distill_lab.modules import Distillation, FineTuning
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.parts import look_at
from distill_lab.store import Store
from distill_lab.tasks import Data, TextTask
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.rows import Rows, Splits
from distill_lab.teachers import SignalPlan
from distill_lab.teachers.live import Live
from distill_lab.training import fit
from distill_lab.types import Batch, Fit, TeacherSource

TEACHER, WIDTH, HEAD = 12, 256, 64
_SHARED = Path(__file__).resolve().parents[2] / "shared"
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
    """

    def __init__(
        self,
        data: Path,
        tokenizer: Path,
        rows: int,
        folder: Path,
        warmup: int = 0,
        cpu: bool = False,
    ) -> None:
        self.folder = folder
        self.clock: dict[str, Any] = {"warmup": warmup, "cpu": cpu}
        self.overrides = [
            "task=glue/sst2", f"task.data_dir={data}", f"teacher.model={tokenizer}",
            f"store_dir={folder}/store", "trainer.accelerator=cpu", "trainer.max_epochs=1",
        ]  # fmt: skip
        parts, _ = look_at(compose(*self.overrides))
        splits = parts.task.load()
        few = {name: _some(rows, 256) for name, rows in splits.evaluation.items()}
        drawn = Splits(_some(splits.train, rows), _some(splits.selection, 256), few)
        store = Store(folder / "store")
        self.data: Data = parts.task.encode(
            drawn, load_tokenizer(str(tokenizer), "tokenizer"), store
        )
        self.problem = parts.task.problem

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that has not started."""
        return Stopwatch(**self.clock)

    def sizes(self, layers: int, width: int = WIDTH) -> BertConfig:
        """Return the configuration of a BERT."""
        return BertConfig(
            vocab_size=len(self.data.tokenizer),
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=width // HEAD,
            intermediate_size=4 * width,
            **head(self.problem),
        )

    def model(self, layers: int, width: int = WIDTH) -> PreTrainedModel:
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
        sizes = self.sizes(TEACHER)
        name = f"BERT {TEACHER} x {WIDTH}"
        teacher = Live(lambda: self.model(TEACHER), name, "", "random weights")
        parts.objective.prepare(Fit(self.problem, sizes, sizes))
        wanted = parts.objective.needs.teacher
        plan = SignalPlan(parts.teacher.caching, self.data, self.problem, sizes, wanted, name)
        lab = Lab(Store(config.store_dir), parts.optim, budget, torch.device("cpu"), self.folder)
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
            fit(module, self.data, built.budget, Path(out), "student", loggers)
            watch = Clock.of(module.trainer)
        torch.use_deterministic_algorithms(False)  # which a trainer leaves on
        return watch

    def bare(self, student: PreTrainedModel, built: Built, loss_of: LossOf) -> Stopwatch:
        """Train in a bare loop with the same batches, optimizer, schedule and clipping."""
        pl.seed_everything(built.budget.seed, verbose=False)
        watch = self.stopwatch()
        batches = training_batches(self.data.train, built.optim.batch_size, built.budget.seed)
        made = built.optim.configure(student, len(batches))
        optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
        clip = built.budget.trainer["gradient_clip_val"]
        # In Lightning's order, on which the last bit of the norm depends.
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        student.train()
        for batch in batches:
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


def arguments(about: str, rows: int) -> argparse.ArgumentParser:
    """Return a parser with what the benchmarks on SST-2 are told.

    Args:
        about: First line of the help.
        rows: Training rows, unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=about)
    paths = {
        "--data": _SHARED / "data/glue/SST-2",
        "--tokenizer": _SHARED / "models/minilm-l6-h384",
    }
    helps = {"--data": "SST-2, train.tsv and dev.tsv", "--tokenizer": "model with a tokeniser"}
    for name, default in paths.items():
        parser.add_argument(name, type=Path, default=default, metavar="FOLDER", help=helps[name])
    parser.add_argument("--rows", type=int, default=rows, help=f"training rows ({rows})")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    parser.add_argument("--warmup", type=int, default=10, help="steps that are not timed (10)")
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="count the seconds that the process computes, with one thread: for a machine that does"
        " other things too",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there")
    return parser


@contextmanager
def scene(given: argparse.Namespace) -> Iterator[Scene]:
    """Set the threads and yield a scene whose store and runs are deleted at the end."""
    given.threads = 1 if given.cpu else given.threads
    torch.set_num_threads(given.threads)
    logging.getLogger("distill_lab").setLevel(logging.ERROR)  # random models do odd things
    with tempfile.TemporaryDirectory() as folder:
        yield Scene(given.data, given.tokenizer, given.rows, Path(folder), given.warmup, given.cpu)


def measured_on(given: argparse.Namespace) -> tuple[str, ...]:
    """Say how it was measured, for `page.setting`."""
    clock = ["seconds of computing"] if given.cpu else []
    threads = f"{given.threads} thread{'s' if given.threads > 1 else ''}"
    return threads, *clock, f"{given.rounds} rounds", f"{given.rows} rows"


def _some(rows: Rows, count: int) -> Rows:
    order = np.random.default_rng(0).permutation(len(rows))
    return rows.take(order[:count])
