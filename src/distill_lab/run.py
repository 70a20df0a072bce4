"""One run: from a teacher, a student and a task to a comparison on disk."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from transformers import PreTrainedModel

from distill_lab import better, ranks
from distill_lab.augmentation import with_more_rows
from distill_lab.baseline import train_baseline
from distill_lab.budget import Budget, device_for
from distill_lab.callbacks import Pruned
from distill_lab.config import Config
from distill_lab.disk import saving
from distill_lab.errors import ConfigError
from distill_lab.evaluation import answers, score
from distill_lab.heads import described
from distill_lab.lab import Lab
from distill_lab.launch.jobs import CONFIG_FILE
from distill_lab.loggers import logged, report, title
from distill_lab.model_card import save_student
from distill_lab.models import count_parameters, state_fingerprint
from distill_lab.modules import Distillation
from distill_lab.parts import Parts, Reader, look_at
from distill_lab.progress_files import FOLDER
from distill_lab.results import Provenance, Result
from distill_lab.results.predictions import PREDICTIONS, answer_tables, write_predictions
from distill_lab.results.result import PRUNED
from distill_lab.results.tables import millions
from distill_lab.scores import Trained
from distill_lab.store import Store, digest, write_atomically
from distill_lab.students.int8 import is_int8, sizes, unmarked
from distill_lab.tasks import Data, Task
from distill_lab.tasks.fidelity import fidelity
from distill_lab.teachers import Source
from distill_lab.training import fit
from distill_lab.types import TeacherSource
from distill_lab.writing import with_answers

log = logging.getLogger(__name__)


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
        DiskError: If the disk is full, or may not be written to; at any time.
    """
    parts, budget = look_at(config)
    if parts.processes > 1 and not ranks.started():
        raise ConfigError(
            f"trainer.devices={config.trainer.get('devices')}: several processes are started by"
            " `distill-lab train`, torchrun or Slurm, not by a call; or take trainer.devices=1"
        )
    provenance = provenance or Provenance.of(config)
    with saving(out_dir, "hydra.run.dir"), ranks.joined():
        return _compare(config, out_dir, provenance, parts, budget)


def _compare(
    config: Config, out_dir: Path, provenance: Provenance, parts: Parts, budget: Budget
) -> Result:
    first = ranks.rank() == 0
    lab = Lab(Store(config.store_dir), parts.optim, budget, device_for(config.trainer), out_dir)

    plan = Reader(lab.store).plan(config, parts)
    data = plan.data
    if first:  # from here on it is a run; what was refused leaves what was there
        Result.forget(out_dir)
        write_atomically(out_dir / CONFIG_FILE, yaml.safe_dump(asdict(config), sort_keys=False))
    with logged(config, out_dir, title(config, provenance, parts.task.name)) as loggers:
        teacher = parts.teacher.prepare(parts.task, data.for_teacher or data, lab)
        student = _student(parts, teacher, data, config.seed)
        start = copy.deepcopy(student)
        models = {"teacher": teacher.trained()}
        learned = with_answers(parts.task, data, teacher, lab)
        learned = with_more_rows(parts.task, plan.splits, learned, teacher, lab)
        try:
            source = plan.signals.on(learned).source(teacher, lab)
            models["student"] = _distil(config, parts, student, source, learned, lab, loggers)
        except Pruned as early:
            log.info("student: %s", early)
            result = _pruned(config, provenance, parts, learned, early)
            if first:
                _finish(result, out_dir)
            return result
        if config.baseline:
            models["baseline"] = train_baseline(start, parts.task, data, lab)
        result = _result(config, provenance, parts.task, learned, parts.teacher.name, models)
        if first:
            save_student(out_dir / "student", student, data.tokenizer, result, data.problem)
            tables = answer_tables(parts.task, plan.data, models)
            write_predictions(out_dir / PREDICTIONS, tables)
            result.fidelity = fidelity(plan.data.problem, next(iter(tables.values())))
            report(loggers, result, out_dir / "student")
            _finish(result, out_dir)
    return result


def _finish(result: Result, out_dir: Path) -> None:
    """Write the result; what only a training that goes on needs is deleted after it."""
    result.write(out_dir)
    shutil.rmtree(out_dir / FOLDER, ignore_errors=True)


def _student(parts: Parts, teacher: Source, data: Data, seed: int) -> PreTrainedModel:
    pl.seed_everything(seed, verbose=False)
    student: PreTrainedModel = unmarked(parts.student.build(teacher, data))
    student.requires_grad_(True)
    parameters = millions(count_parameters(student))
    int8 = ", trained for int8" if is_int8(student) else ""
    log.info("student: %s, %s parameters%s", described(student.config), parameters, int8)
    return student


def _distil(
    config: Config,
    parts: Parts,
    student: PreTrainedModel,
    source: TeacherSource,
    data: Data,
    lab: Lab,
    loggers: list[Any],
) -> Trained:
    module = Distillation(student, source, parts.objective, parts.task, parts.optim)
    cost = fit(
        module, data, lab.budget, lab.out_dir, "student", loggers, _key(config, module, data)
    )
    scores = ranks.by_first(
        lambda: score(parts.task, data, answers(parts.task, student, data, lab.device, "student"))
    )
    spent = {**sizes(student), **cost.plain()}
    return Trained(scores, spent, state_fingerprint(student.state_dict()))


def _key(config: Config, module: Distillation, data: Data) -> str:
    """Return what changes with whatever decides how the student's training goes."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("logger", "launch", "study")}
    return digest([settings, state_fingerprint(module.state_dict()), data.prints()])


def _result(
    config: Config,
    provenance: Provenance,
    task: Task,
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
        rows=data.counts(),
        fingerprints={**data.prints(), **{n: m.fingerprint for n, m in models.items()}},
        config=asdict(config),
        problem={**asdict(data.problem), "labels": list(data.problem.labels)},
    )


def _pruned(
    config: Config, provenance: Provenance, parts: Parts, data: Data, early: Pruned
) -> Result:
    result = _result(config, provenance, parts.task, data, parts.teacher.name, {})
    score = better.sign(result.metric) * early.score
    cost: dict[str, float | int | None] = {"best_epoch": early.epoch, "selection": score}
    return replace(result, status=PRUNED, cost={"student": cost})
