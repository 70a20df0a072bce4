"""A teacher that knows the task: found fine-tuned, found in the store, or fine-tuned first."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab import ranks
from distill_lab.budget import Budget
from distill_lab.csv_log import CsvLog
from distill_lab.errors import refuse
from distill_lab.heads import has_head
from distill_lab.lab import Lab
from distill_lab.model_guards import check_fits, check_labels, check_learnable
from distill_lab.models import (
    agree_on_padding,
    load_config,
    load_model,
    load_tokenizer,
    weight_files,
    weights_fingerprint,
)
from distill_lab.modules import FineTuning
from distill_lab.new_models import new_model, new_name
from distill_lab.optim import AdamW
from distill_lab.store import digest
from distill_lab.tasks import Data, Task
from distill_lab.tasks.rows import Splits
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.teachers.base import Teacher, Training
from distill_lab.teachers.caching import Caching, Kept, When
from distill_lab.teachers.live import Live
from distill_lab.teachers.scored import refuse_chance, stored_scores
from distill_lab.training import fit, forget

CostDict = dict[str, float | int | None]
log = logging.getLogger(__name__)
_FORMAT = 1  # raised when what the store holds of a teacher changes


class FineTuned(Teacher):
    """A teacher fine-tuned on the task, by others or by the lab.

    Args:
        model: Folder or hub name of a fine-tuned model or of an encoder; None trains `scratch`.
        finetune: Whether to fine-tune `model` first; None does so unless it has a classification
            head.
        epochs: Epochs of fine-tuning.
        lr: Its peak learning rate.
        batch_size: Its rows a step; "auto" as in `AdamW`.
        max_steps: Optimizer steps at which fine-tuning ends early; -1 for all epochs.
        seed: Fixes its head, order and dropout; independent of the student's.
        min_over_chance: How far the main metric must lie above that of a constant answer.
        scratch: Configuration of a new model, with `model_type`.
        vocab_size: Vocabulary of the tokeniser that is trained for a new model.
        cache, cache_max_gb, cache_dtype, cache_top_k, cache_temperatures: Whether and how what it
            answers for the training rows is kept, see `Caching`.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        *,
        epochs: int,
        lr: float,
        model: str | None = None,
        finetune: bool | None = None,
        batch_size: int | Literal["auto"] = 32,
        max_steps: int = -1,
        seed: int = 0,
        min_over_chance: float = 0.02,
        scratch: Mapping[str, Any] | None = None,
        vocab_size: int = 4000,
        cache: When = "auto",
        cache_max_gb: float = 10.0,
        cache_dtype: Kept = "bfloat16",
        cache_top_k: int | None = None,
        cache_temperatures: Sequence[float] | None = None,
    ) -> None:
        nothing = "teacher.model: no model is named, and no teacher.scratch either"
        rows = 1 if batch_size == "auto" else batch_size
        counts = {"epochs": (epochs, 1), "batch_size": (rows, 1), "seed": (seed, 0)}
        refuse({
            nothing: model is None and not scratch,
            f"teacher.lr={lr}: the learning rate must be above 0": not lr > 0,
            **{f"teacher.{name}={value}: at least {least} is needed": value < least
               for name, (value, least) in counts.items()},
        })  # fmt: skip
        self.model = model
        self.finetune = finetune
        self.epochs = epochs
        self.optim = AdamW(lr=lr, batch_size=batch_size)
        self.max_steps = max_steps
        self.seed = seed
        self.min_over_chance = min_over_chance
        self.scratch = dict(scratch or {})
        self.vocab_size = vocab_size
        self.caching = Caching(cache, cache_max_gb, cache_dtype, cache_top_k, cache_temperatures)
        # What errors name: the key that gave the model, and where the other settings stand.
        self.key, self.settings = "teacher.model", "teacher"

    def as_member(self, model: str | None, seed: int) -> FineTuned:
        """Return the same recipe for a member of an ensemble, whose errors name its keys."""
        member = copy.copy(self)
        member.model, member.seed = model, seed
        member.key, member.settings = "teacher.models", "teacher.each"
        return member

    def tokenizer(self, splits: Splits, task: Task) -> PreTrainedTokenizerBase:
        """Return the teacher's tokeniser, trained on the rows for a new model.

        Raises:
            ModelError: If it cannot be loaded.
        """
        if self.model is None:
            return train_tokenizer(splits.train, self.vocab_size, task.max_length, task.framed)
        return load_tokenizer(self.model, self.key)

    def check(self, task: Task, data: Data) -> PretrainedConfig:
        """Look at what can be known before anything is trained; return the configuration.

        Raises:
            UsageError: If the model cannot be found, does not fit the data, or answers another set
                of labels.
        """
        if not self.is_finetuned(task):
            check_learnable(data, self.settings)
        if self.model is None:
            with torch.device("meta"):
                config = self._new(task, data).config
            check_fits(config, data, f"{self.settings}.scratch", str(config.model_type))
            return config
        config = load_config(self.model, self.key)
        check_fits(config, data, self.key, self.model)
        if Path(self.model).is_dir():
            weight_files(Path(self.model), self.key)
        if self.is_finetuned(task):
            check_labels(config, task, f"{self.key}={self.model}", f"{self.settings}.finetune")
        return config

    def prepare(self, task: Task, data: Data, lab: Lab) -> Live:
        """Return the teacher, fine-tuned and scored, from the store where it is there.

        Raises:
            ModelError: If its weights cannot be loaded, or it is near chance.
        """
        if self.model is not None and self.is_finetuned(task):
            path, training = self.model, CostDict()
        else:
            path, training = self._from_store(task, data, lab)

        def load() -> PreTrainedModel:
            model = load_model(path, task.problem, self.key, f"{self.settings}.finetune")
            agree_on_padding(model, data.tokenizer)
            return model

        teacher = Live(load, self.name, path, weights_fingerprint(path, self.key))
        scores, parameters = stored_scores(teacher, task, data, lab)
        refuse_chance(scores, task, data, self.min_over_chance, self.name, self.key, self.settings)
        return replace(teacher, scores=scores, cost={"parameters": parameters, **training})

    @property
    def name(self) -> str:
        """What tables call the teacher."""
        return new_name(self.scratch) if self.model is None else Path(self.model).name

    def is_finetuned(self, task: Task) -> bool:
        """Whether the model is taken as it is."""
        if self.model is None or self.finetune is not None:
            return self.model is not None and not self.finetune
        return has_head(load_config(self.model, self.key), task.problem)

    def trainings(self, task: Task, data: Data, lab: Lab) -> list[Training]:
        """Return its fine-tuning; none where it is taken as it is."""
        if self.is_finetuned(task):
            return []
        path = lab.store.path("teachers", self._ingredients(task, data, lab))
        rows = self._budget(lab).rows_seen(len(data.of_teacher().train), self.optim.rows)
        return [Training(path, f"{self.name} on {task.name}", rows, self.optim.rows)]

    def fingerprint(self, task: Task, data: Data, lab: Lab) -> str | None:
        """Return that of its fine-tuned weights; None where it has yet to be trained."""
        if self.model is not None and self.is_finetuned(task):
            return weights_fingerprint(self.model, self.key)
        path = lab.store.path("teachers", self._ingredients(task, data, lab))
        return weights_fingerprint(str(path), self.key) if path.is_dir() else None

    def _budget(self, lab: Lab) -> Budget:
        return lab.budget.for_teacher(self.epochs, self.max_steps, self.seed)

    def _ingredients(self, task: Task, data: Data, lab: Lab) -> dict[str, Any]:
        start = self.scratch if self.model is None else weights_fingerprint(self.model, self.key)
        return {
            "format": _FORMAT,
            "start": start,
            "data": data.taught(),
            **data.cut(),
            "problem": {**asdict(data.problem), "metric": task.metrics[0], **task.scoring()},
            "optim": asdict(self.optim),
            **self._budget(lab).ingredients(),
        }

    def _from_store(self, task: Task, data: Data, lab: Lab) -> tuple[str, CostDict]:
        ingredients = self._ingredients(task, data, lab)

        def make(folder: Path) -> None:
            log.info("teacher: fine-tuning %s on %s", self.name, task.name)
            model = self._start(task, data)
            module = FineTuning(model, task, self.optim)
            cost = fit(
                module, data.of_teacher(), self._budget(lab), folder, "teacher",
                [CsvLog(folder)], digest(ingredients),
            )  # fmt: skip
            if ranks.rank() > 0:
                return
            forget(folder)
            model.save_pretrained(folder)
            data.save_tokenizer(folder)
            (folder / "cost.json").write_text(json.dumps(cost.plain()), encoding="utf-8")

        path, found = ranks.kept(
            lab.store, "teachers", ingredients, make, f"{self.name} on {task.name}", resumable=True
        )
        log.info("teacher: %s %s", "found in the store:" if found else "kept as", path)
        return str(path), json.loads((path / "cost.json").read_text(encoding="utf-8"))

    def _start(self, task: Task, data: Data) -> PreTrainedModel:
        pl.seed_everything(self.seed, verbose=False)
        if self.model is None:
            return self._new(task, data)
        model = load_model(self.model, task.problem, self.key)
        agree_on_padding(model, data.tokenizer)
        return model

    def _new(self, task: Task, data: Data) -> PreTrainedModel:
        return new_model(
            self.scratch, data.tokenizer, data.max_length, task.problem,
            f"{self.settings}.scratch", data.sizes,
        )  # fmt: skip
