"""One run: from a teacher, a student and a task to a comparison on disk."""

from __future__ import annotations

import copy
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from transformers import PreTrainedModel

from distill_lab.baseline import train_baseline
from distill_lab.config import Config, build, check
from distill_lab.evaluation import answers, score
from distill_lab.lab import Lab
from distill_lab.loggers import logged, report, title
from distill_lab.model_card import save_student
from distill_lab.models import count_parameters, state_fingerprint
from distill_lab.modules import Distillation
from distill_lab.objectives import Objective
from distill_lab.optim import AdamW
from distill_lab.results import Provenance, Result
from distill_lab.results.predictions import write_predictions
from distill_lab.store import Store, write_atomically
from distill_lab.students import Student
from distill_lab.tasks import Data, TextTask
from distill_lab.teachers import FineTuned, Live
from distill_lab.training import Budget, Cost, device_for, fit
from distill_lab.types import Fit, Scores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """What the configuration names, built; their values have been looked at."""

    task: TextTask
    teacher: FineTuned
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
        The result, as written to `out_dir/result.json`.

    Raises:
        UsageError: If a key, value, file or model cannot be used as it is; before any training.
    """
    check(config)
    parts = _Parts(**{part.name: build(getattr(config, part.name)) for part in fields(_Parts)})
    for callback in config.callbacks.values():
        build(callback)  # refuses bad values before the teacher is trained
    pl.seed_everything(config.seed, verbose=False)
    provenance = provenance or Provenance()
    write_atomically(out_dir / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    budget = Budget(config.trainer, config.callbacks, config.seed)
    lab = Lab(Store(config.store_dir), parts.optim, budget, device_for(config.trainer), out_dir)

    splits = parts.task.load()
    log.info("task: %s, %s", parts.task.name, splits.describe())
    data = parts.task.encode(splits, parts.teacher.tokenizer(splits, parts.task.max_length))
    parts.student.check(parts.teacher.check(parts.task, data), data)
    teacher = parts.teacher.prepare(parts.task, data, lab)
    student = _student(parts, teacher, data, config.seed)
    start = copy.deepcopy(student)
    with logged(config, out_dir, title(config, provenance, parts.task.name)) as loggers:
        distilled, cost = _distil(parts, student, teacher, data, lab, loggers)
        models = {"teacher": teacher.scores, "student": distilled}
        costs = {"teacher": teacher.cost(), "student": _cost(cost, student)}
        prints = {**data.fingerprints, "teacher": teacher.fingerprint}
        prints["student_start"] = state_fingerprint(start.state_dict())
        if config.baseline:
            baseline = train_baseline(start, parts.task, data, lab)
            models["baseline"], costs["baseline"] = baseline.scores, baseline.cost
            prints["baseline"] = baseline.fingerprint
        result = Result(
            study=config.study,
            choices={**provenance.choices, "teacher_name": teacher.name},
            overrides=provenance.overrides,
            seed=config.seed,
            task=parts.task.name,
            metric=parts.task.metrics[0],
            metrics={name: scores.metrics for name, scores in models.items()},
            cost=costs,
            rows=data.sizes(),
            fingerprints=prints,
            config=asdict(config),
        )
        save_student(out_dir / "student", student, data.tokenizer, result)
        write_predictions(out_dir / "predictions.parquet", parts.task.problem, data, models)
        report(loggers, result)
        result.write(out_dir)
    return result


def _student(parts: _Parts, teacher: Live, data: Data, seed: int) -> PreTrainedModel:
    pl.seed_everything(seed, verbose=False)
    student: PreTrainedModel = parts.student.build(teacher, data, parts.task.problem)
    student.requires_grad_(True)
    parts.objective.prepare(Fit(parts.task.problem, student.config, teacher.model.config))
    return student


def _distil(
    parts: _Parts, student: PreTrainedModel, teacher: Live, data: Data, lab: Lab, loggers: list[Any]
) -> tuple[Scores, Cost]:
    layers = student.config.num_hidden_layers
    log.info("student: %d layers, %d parameters", layers, count_parameters(student))
    module = Distillation(student, teacher, parts.objective, parts.task, parts.optim)
    cost = fit(module, data, lab.budget, lab.out_dir, "student", loggers)
    return score(parts.task, data, answers(student, data, lab.device, "student")), cost


def _cost(cost: Cost, model: PreTrainedModel) -> dict[str, float | int]:
    return {"parameters": count_parameters(model), **cost.plain()}
