"""What a configuration names: built, looked at, and held against the rows before any training."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytorch_lightning as pl
from transformers import PretrainedConfig

from distill_lab.augmentation import check_augment
from distill_lab.budget import Budget, check_budget, mixed_precision
from distill_lab.config import Config, build, faults_by_group
from distill_lab.errors import ConfigError, noted
from distill_lab.guards import (
    check_alignment,
    check_baseline,
    check_divided,
    check_inside,
    check_schedules,
    check_stages,
    check_transfer,
    check_words,
    check_written,
)
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.store import Store, digest
from distill_lab.students import Student
from distill_lab.tasks import Data, Task
from distill_lab.tasks.rows import Splits
from distill_lab.teachers import SignalPlan, Teacher, Unasked
from distill_lab.teachers.top_k import settled
from distill_lab.types import Fit, Problem
from distill_lab.values import leaves, unfit

log = logging.getLogger(__name__)
_GROUPS = ("task", "teacher", "student", "objective", "optim")


@dataclass(frozen=True)
class Parts:
    """The parts of a run; their values have been looked at.

    Attributes:
        processes: How many train together on this machine.
        world: How many do so on all.
    """

    task: Task
    teacher: Teacher
    student: Student
    objective: Objective
    optim: AdamW
    processes: int
    world: int


@dataclass(frozen=True)
class Plan:
    """What is known of a run before anything is trained.

    Attributes:
        splits: The rows as they are read.
        data: The same as tokens.
        signals: What of the teacher is to be kept.
        teacher: Configuration of its network.
        student: Configuration that the student will have.
    """

    splits: Splits
    data: Data
    signals: SignalPlan
    teacher: PretrainedConfig
    student: PretrainedConfig


def look_at(config: Config) -> tuple[Parts, Budget]:
    """Build what a configuration names; no file is read and no model loaded.

    Returns:
        The parts, and how they are trained.

    Raises:
        UsageError: If keys or values cannot be used; with the faults of all parts.
    """
    found, built = faults_by_group(config), dict[str, Any]()
    faults = [fault for each in found.values() for fault in each]
    for name in (name for name in _GROUPS if not found[name]):  # others cannot be built
        with noted(faults):
            built[name] = build(getattr(config, name))
    if not faults:
        faults += [f"{key}: {why}" for key, why in unfit(asdict(config)).items()]
    budget = Budget(config.trainer, config.callbacks, config.seed, workers=config.workers)
    processes = world = 1
    if not found["trainer"] and not found["callbacks"]:
        with noted(faults):
            processes, world = check_budget(budget)
            _check_auto(config)
    if faults:
        raise ConfigError(faults)
    return Parts(**built, processes=processes, world=world), replace(budget, world=world)


def _check_auto(config: Config) -> None:
    """Refuse to look for rows that fit where a model lies on several devices."""
    sizes = {"teacher": leaves(config.teacher), "optim": leaves(config.optim)}
    strategy = str(config.trainer.get("strategy", "auto"))
    if strategy == "auto" or "ddp" in strategy:
        return
    for group, values in sizes.items():
        for key, value in values.items():
            if key.endswith("batch_size") and value == "auto":
                raise ConfigError(
                    f"{group}.{key}=auto: under trainer.strategy={strategy} what fits is not known"
                    " beforehand; give a number"
                )


class Reader:
    """Reads rows and holds all parts against them and each other.

    What several jobs of a sweep share is read once.

    Args:
        store: Keeps rows that have been tokenised.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._splits: dict[str, tuple[Splits, Problem]] = {}
        self._encoded: dict[str, Data] = {}

    def plan(self, config: Config, parts: Parts) -> Plan:
        """Return what is known of a run before anything is trained.

        Args:
            config: Names the parts.
            parts: Built from it; the task learns its labels, the objective the two models.

        Raises:
            UsageError: If a file or model cannot be used, or two parts do not fit each other.
        """
        splits = self._load(config, parts)
        data = self._by_teacher(config, parts, splits)
        teacher = parts.teacher.check(parts.task, data)
        own = parts.student.tokenizer()
        if own is not None and data.tokenizer is not None:
            data = parts.task.encode(splits, own, self.store).beside(data)
        check_inside(parts.objective, data.problem)
        student = parts.student.check(teacher, data)
        pl.seed_everything(config.seed, verbose=False)  # for projections
        parts.objective.prepare(Fit(parts.task.problem, student, teacher))
        check_schedules(config.callbacks, parts.objective)
        if len(parts.objective.stages) > 1:
            budget = Budget(config.trainer, config.callbacks, config.seed, parts.world)
            steps = budget.steps(len(data.train), parts.optim.rows)
            check_stages(parts.objective, steps)
        parts.teacher.check_needs(parts.objective.needs)
        check_alignment(parts.objective.needs, data)
        check_words(parts.objective.needs, student, teacher, data.problem)
        check_written(parts.objective, parts.task)
        check_divided(config.trainer, parts.task)
        check_baseline(config.baseline, data)
        check_transfer(parts.objective, data, parts.task)
        check_augment(parts.task, splits, data.for_teacher or data)
        wanted = parts.objective.needs.teacher
        name = f"{parts.teacher.name} on {parts.task.name}"
        problem, caching = parts.task.problem, parts.teacher.caching
        top = settled(caching, parts.objective, problem, config.callbacks)
        mixed = mixed_precision(config.trainer)
        planned = SignalPlan if parts.objective.needs.signals else Unasked
        signals = planned(caching, data, problem, teacher, wanted, name, top, mixed)
        signals.check()
        return Plan(splits, data, signals, teacher, student)

    def _load(self, config: Config, parts: Parts) -> Splits:
        key = digest(config.task)
        if key not in self._splits:
            splits = parts.task.load()
            log.info("task: %s, %s", parts.task.name, splits.describe())
            self._splits[key] = splits, parts.task.problem
        splits, parts.task.problem = self._splits[key]
        return splits

    def _by_teacher(self, config: Config, parts: Parts, splits: Splits) -> Data:
        """Return the rows as the teacher reads them."""
        key = digest([config.task, config.teacher])
        if key not in self._encoded:
            text = parts.task.problem.reads == "text"
            tokenizer = parts.teacher.tokenizer(splits, parts.task) if text else None
            self._encoded[key] = parts.task.encode(splits, tokenizer, self.store)
        parts.task.problem = self._encoded[key].problem
        return self._encoded[key]
