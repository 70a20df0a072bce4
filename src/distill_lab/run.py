"""One run: from a teacher, a student and a task to a comparison on disk."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from transformers import PreTrainedModel

from distill_lab.baseline import train_baseline
from distill_lab.callbacks import Pruned
from distill_lab.config import Config, build, check
from distill_lab.errors import ConfigError
from distill_lab.evaluation import answers, score
from distill_lab.guards import check_alignment
from distill_lab.lab import Lab
from distill_lab.loggers import logged, report, title
from distill_lab.model_card import save_student
from distill_lab.models import count_parameters, state_fingerprint
from distill_lab.modules import Distillation
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.results import Provenance, Result
from distill_lab.results.predictions import write_predictions
from distill_lab.results.result import PRUNED
from distill_lab.results.tables import millions
from distill_lab.store import Store, write_atomically
from distill_lab.students import Student
from distill_lab.tasks import Data, TextTask
from distill_lab.teachers import SignalPlan, Source, Teacher
from distill_lab.training import Budget, check_budget, device_for, fit
from distill_lab.types import Fit, TeacherSource, Trained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """What the configuration names, built; their values have been looked at."""

    task: TextTask
    teacher: Teacher
    student: Student
    objective: Objective
    optim: AdamW


def run(config: Config, out_dir: Path, provenance: Provenance | None = None) -> Result:
    """Fine-tune or find the teacher, distil the student, train or find the baseline, compare.

    Args:
        config: Plain values, see `config.plain`.
        out_dir: The run's own folder; nothing is written elsewhere but in the store.
        provenance: How the run was asked for.

    Returns:
        The result, as written to `out_dir/result.json`; one without metrics if a search ended the
        training early.

    Raises:
        UsageError: If a key, value, file or model cannot be used as it is; before any training.
    """
    parts, budget = look_at(config)
    provenance = provenance or Provenance.of(config)
    write_atomically(out_dir / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    lab = Lab(Store(config.store_dir), parts.optim, budget, device_for(config.trainer), out_dir)

    data, plan = _data(parts, config.seed)
    with logged(config, out_dir, title(config, provenance, parts.task.name)) as loggers:
        teacher = parts.teacher.prepare(parts.task, data.for_teacher or data, lab)
        student = _student(parts, teacher, data, config.seed)
        start = copy.deepcopy(student)
        models = {"teacher": teacher.trained()}
        try:
            source = plan.source(teacher, lab)
            models["student"] = _distil(parts, student, source, data, lab, loggers)
        except Pruned as early:
            log.info("student: %s", early)
            result = _pruned(config, provenance, parts, data, early)
            result.write(out_dir)
            return result
        if config.baseline:
            models["baseline"] = train_baseline(start, parts.task, data, lab)
        result = _result(config, provenance, parts.task, data, parts.teacher.name, models)
        save_student(out_dir / "student", student, data.tokenizer, result)
        write_predictions(out_dir / "predictions.parquet", parts.task.problem, data, models)
        report(loggers, result)
        result.write(out_dir)
    return result


def look_at(config: Config) -> tuple[_Parts, Budget]:
    """Build what a configuration names; no file is read and no model loaded.

    Raises:
        UsageError: If keys or values cannot be used; with the faults of all parts.
    """
    check(config)
    built, faults = dict[str, Any](), list[str]()
    for part in fields(_Parts):
        try:
            built[part.name] = build(getattr(config, part.name))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    parts = _Parts(**built)
    budget = Budget(config.trainer, config.callbacks, config.seed)
    check_budget(budget)
    return parts, budget


def _data(parts: _Parts, seed: int) -> tuple[Data, SignalPlan]:
    """Read and encode the rows; hold all parts against them and each other before any training."""
    splits = parts.task.load()
    log.info("task: %s, %s", parts.task.name, splits.describe())
    data = parts.task.encode(splits, parts.teacher.tokenizer(splits, parts.task.max_length))
    teacher = parts.teacher.check(parts.task, data)
    own = parts.student.tokenizer()
    if own is not None:
        data = parts.task.encode(splits, own).beside(data)
    student = parts.student.check(teacher, data)
    pl.seed_everything(seed, verbose=False)  # for projections
    parts.objective.prepare(Fit(parts.task.problem, student, teacher))
    parts.teacher.check_needs(parts.objective.needs)
    check_alignment(parts.objective.needs, data)
    wanted = parts.objective.needs.teacher
    name = f"{parts.teacher.name} on {parts.task.name}"
    plan = SignalPlan(parts.teacher.caching, data, parts.task.problem, teacher, wanted, name)
    plan.check()
    return data, plan


def _student(parts: _Parts, teacher: Source, data: Data, seed: int) -> PreTrainedModel:
    pl.seed_everything(seed, verbose=False)
    student: PreTrainedModel = parts.student.build(teacher, data, parts.task.problem)
    student.requires_grad_(True)
    layers, parameters = student.config.num_hidden_layers, millions(count_parameters(student))
    log.info("student: %d layers, %s parameters", layers, parameters)
    return student


def _distil(
    parts: _Parts,
    student: PreTrainedModel,
    source: TeacherSource,
    data: Data,
    lab: Lab,
    loggers: list[Any],
) -> Trained:
    module = Distillation(student, source, parts.objective, parts.task, parts.optim)
    cost = fit(module, data, lab.budget, lab.out_dir, "student", loggers)
    scores = score(parts.task, data, answers(student, data, lab.device, "student"))
    spent = {"parameters": count_parameters(student), **cost.plain()}
    return Trained(scores, spent, state_fingerprint(student.state_dict()))


def _result(
    config: Config,
    provenance: Provenance,
    task: TextTask,
    data: Data,
    teacher: str,
    models: Mapping[str, Trained],
) -> Result:
    return Result(
        study=config.study,
        choices={**provenance.choices, "teacher_name": teacher},
        overrides=provenance.overrides,
        seed=config.seed,
        task=task.name,
        metric=task.metrics[0],
        metrics={name: model.scores.metrics for name, model in models.items()},
        cost={name: dict(model.cost) for name, model in models.items()},
        rows=data.sizes(),
        fingerprints={**data.prints(), **{n: m.fingerprint for n, m in models.items()}},
        config=asdict(config),
    )


def _pruned(
    config: Config, provenance: Provenance, parts: _Parts, data: Data, early: Pruned
) -> Result:
    result = _result(config, provenance, parts.task, data, parts.teacher.name, {})
    cost: dict[str, float | int | None] = {"best_epoch": early.epoch, "selection": early.score}
    return replace(result, status=PRUNED, cost={"student": cost})
