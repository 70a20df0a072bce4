"""What does not fit, refused or told before anything is trained: models, tasks, precision."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from transformers import PretrainedConfig

from distill_lab.errors import ConfigError
from distill_lab.objectives import Objective
from distill_lab.schedules import stage_ends
from distill_lab.sharding import NAME
from distill_lab.tasks import Data, Instruction, Task
from distill_lab.types import Needs, Problem, Wanted

log = logging.getLogger(__name__)


def check_inside(objective: Objective, problem: Problem) -> None:
    """Refuse to look at the tokens of a picture.

    Args:
        objective: Not yet prepared.
        problem: Tells what rows are.

    Raises:
        ConfigError: If it does.
    """
    parts = objective.with_parts()
    if problem.reads == "images" and any(part.inside for part in parts):
        raise ConfigError(
            f"objective: {type(objective).__name__} looks at the hidden states or attention of"
            " tokens, which pictures have not; use an objective on logits, such as hinton"
        )


def check_schedules(callbacks: Mapping[str, Any], objective: Objective) -> None:
    """Refuse a schedule of what the objective does not have.

    Args:
        callbacks: Configurations by name.
        objective: Prepared.

    Raises:
        ConfigError: If T or λ is to change and would not.
    """
    for name in ("temperature", "lam"):
        chosen = callbacks.get("distillation", {}).get(f"{name}_schedule", "constant")
        if chosen != "constant" and name not in objective.scheduled:
            raise ConfigError(
                f"callbacks.distillation.{name}_schedule={chosen}:"
                f" {type(objective).__name__} has no {name} to change here; leave it constant"
            )


def check_stages(objective: Objective, steps: int) -> None:
    """Refuse a training too short for the objective's stages.

    Args:
        objective: May train in stages.
        steps: Of the whole training.

    Raises:
        ConfigError: If a stage would have no step.
    """
    ends = stage_ends(steps, objective.stages)
    if any(end <= start for start, end in pairwise([0, *ends])):
        raise ConfigError(
            f"objective: {type(objective).__name__} trains in {len(ends)} stages, of which"
            f" {steps} steps leave one without any; train longer, or change their shares"
        )


def check_transfer(objective: Objective, data: Data, task: Task) -> None:
    """Refuse rows without labels where the objective cannot do without.

    Args:
        objective: Prepared.
        data: The rows.
        task: Says whether rows without labels will be added.

    Raises:
        ConfigError: If it cannot.
    """
    parts = objective.with_parts()
    needy = [type(part).__name__ for part in parts if part.needs_labels]
    if needy and (task.unlabelled or len(data.train.labelled()) < len(data.train)):
        raise ConfigError(
            f"objective: {needy[0]} divides the teacher's answer by the label, which some rows of"
            " the transfer set have not; use objective=hinton"
        )


def check_written(objective: Objective, task: Task) -> None:
    """Refuse to learn from nothing but what the teacher has written where it writes nothing.

    Args:
        objective: Prepared.
        task: Says whether it does.

    Raises:
        ConfigError: If it does not.
    """
    deaf = not objective.needs.signals or any(each.needs_labels for each in objective.with_parts())
    if deaf and task.on_policy:
        raise ConfigError(
            f"task.on_policy={task.on_policy}: what the student writes is judged by the teacher's"
            f" probabilities alone, and {type(objective).__name__} looks at what was written; take"
            " objective=jsd, or another on logits"
        )
    if not objective.needs.signals and not task.writes:
        raise ConfigError(
            f"objective: {type(objective).__name__} learns what the teacher has written, and for"
            f" task {task.name} it writes nothing; take task=instruction with task.answers=teacher,"
            " or an objective that asks the teacher, such as hinton"
        )


def check_divided(trainer: Mapping[str, Any], task: Task) -> None:
    """Refuse to write answers with a model of which each process holds a part.

    Args:
        trainer: Configuration of the Trainer.
        task: Says whether the student writes.

    Raises:
        ConfigError: If it does; processes need the others' parts at each word, and write unequally
            many.
    """
    if trainer.get("strategy") == NAME and isinstance(task, Instruction):
        raise ConfigError(
            f"trainer.strategy={NAME}: with task {task.name} the student writes answers, for which"
            " each process needs a whole model; take trainer.strategy=ddp"
        )


def check_baseline(wanted: bool, data: Data) -> None:
    """Refuse a baseline where no row has a label that it could learn.

    Args:
        wanted: Whether there is to be one.
        data: The rows.

    Raises:
        ConfigError: If there is none.
    """
    if wanted and len(data.of_baseline().train.labelled()) == 0:
        raise ConfigError(
            "baseline=true: the training rows have no answers from which a student could learn"
            " without a teacher; give some, or take baseline=false"
        )


def check_words(
    needs: Needs, student: PretrainedConfig, teacher: PretrainedConfig, problem: Problem
) -> None:
    """Refuse two models that give probabilities to other numbers of words.

    Args:
        needs: What the objective asks for.
        student: Its configuration.
        teacher: Its configuration.
        problem: Tells whether words are predicted.

    Raises:
        ConfigError: If they do.
    """
    compared = problem.words and needs.signals
    if not compared or student.vocab_size == teacher.vocab_size:
        return
    raise ConfigError(
        f"student: its vocabulary is padded to {student.vocab_size} words, the teacher's to"
        f" {teacher.vocab_size}, so their logits cannot be compared; take student=layers, or"
        f" student=scratch with student.sizes.vocab_size={teacher.vocab_size}"
    )


def check_alignment(needs: Needs, data: Data) -> None:
    """Refuse to compare token with token where each model has its own tokens.

    Args:
        needs: What the objective asks for.
        data: The rows as the student reads them.

    Raises:
        ConfigError: If it looks inside and the tokenisers differ.
    """
    if not needs.signals:
        return
    if data.for_teacher is not None and not data.problem.has_labels:
        raise ConfigError(
            f"student.own_tokenizer=true: answers are tokens ({data.problem.kind}), and each model"
            " has its own; take a student with the teacher's tokeniser"
        )
    if data.for_teacher is not None and needs.teacher != Wanted():
        raise ConfigError(
            "student.own_tokenizer=true: the objective looks at hidden states or attention, which"
            " belong to tokens, and each model has its own; use an objective on logits, such as"
            " hinton, or a student with the teacher's tokeniser"
        )


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16, as far as is known: x86 tells, others may not."""
    can = torch.cpu.get_capabilities()
    return can.get("architecture") != "x86_64" or can["avx512_bf16"] or can["amx_bf16"]


def tell_slow_precision(precision: str, device: torch.device) -> None:
    """Warn of bfloat16 on a processor that cannot compute in it.

    Args:
        precision: As of Lightning's Trainer.
        device: Where it trains.
    """
    if precision.startswith("bf16") and device.type == "cpu" and not has_bfloat16():
        log.warning(
            "trainer.precision=%s: this processor has no bfloat16 arithmetic, so training is slower"
            " than in float32, perhaps many times; leave out trainer=fast or trainer=gpu",
            precision,
        )
