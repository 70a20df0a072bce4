"""What does not fit, refused or told before anything is trained: models, tasks, precision."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, ModelError
from distill_lab.labels import contradicts_itself, is_generic, label_names, label_order
from distill_lab.new_models import longest_input
from distill_lab.objectives import Objective
from distill_lab.schedules import stage_ends
from distill_lab.tasks import Data, TextTask
from distill_lab.tasks.tokens import tokenizer_fingerprint
from distill_lab.types import Needs, Wanted

log = logging.getLogger(__name__)
_PROBE = "Café ÉCOLE, don't\tstop -- 1,000.5 naïve ﬁne!"
_PROBES = (
    (_PROBE,),
    (_PROBE, "a second text"),
    ("中文 漢字 かな 한국어 русский",),
    (" two  spaces \n",),
)


def check_fits(config: PretrainedConfig, data: Data, key: str, name: str) -> None:
    """Refuse a model whose embeddings are too few or too short for the rows.

    Args:
        config: The model's configuration.
        data: The encoded rows.
        key: Configuration key that gave the model, for the error.
        name: Folder or hub name, for the error.

    Raises:
        UsageError: If its vocabulary or its longest input is too small.
    """
    if config.model_type == "xlnet":
        raise ConfigError(
            f"{key}={name}: XLNet's head reads the last token of a row, where rows are padded here;"
            " take another encoder"
        )
    vocabulary = getattr(config, "vocab_size", None)
    if vocabulary is not None and len(data.tokenizer) > vocabulary:
        raise ModelError(
            f"{key}={name}: its tokeniser has {len(data.tokenizer)} tokens, its embeddings"
            f" only {vocabulary}; the folder mixes two models"
        )
    longest = longest_input(config, data.max_length)
    if longest is not None and data.max_length > longest:
        raise ConfigError(
            f"task.max_length={data.max_length}: {key}={name} takes at most {longest} tokens"
        )


def check_labels(config: PretrainedConfig, task: TextTask, where: str, finetune: str) -> None:
    """Refuse a fine-tuned teacher that answers another set of labels than the task's.

    The same labels in another order are put right when the model is loaded.

    Args:
        config: The teacher's configuration.
        task: Names the labels.
        where: Key and value that named the model, for the error.
        finetune: Key that asks for fine-tuning, for the remedy.

    Raises:
        ModelError: If their number or names differ, or the configuration contradicts itself.
    """
    wanted = task.problem.labels
    remedy = f"give an encoder, or fine-tune it anew with {finetune}=true"
    if config.num_labels != len(wanted):
        raise ModelError(
            f"{where}: it answers {config.num_labels} labels, the task {task.name} has"
            f" {len(wanted)}; {remedy}"
        )
    names = label_names(config)
    if len(wanted) == 1 or is_generic(names):
        return
    if contradicts_itself(config):
        raise ModelError(
            f"{where}: id2label and label2id of its config.json contradict each"
            f" other, so nobody knows which answer is which; mend the file, or {remedy}"
        )
    if label_order(names, wanted) is None:
        raise ModelError(
            f"{where}: its labels are {', '.join(names)}, the task's are"
            f" {', '.join(wanted)}, and the names do not tell which is which; {remedy}"
        )


def check_same_tokenizer(
    teacher: PreTrainedTokenizerBase,
    other: PreTrainedTokenizerBase,
    where: str,
    remedy: str,
    samples: Iterable[tuple[str, ...]] = (),
) -> None:
    """Refuse a model whose token ids mean something else than the teacher's.

    Args:
        teacher: The teacher's tokeniser.
        other: The model's.
        where: Key and value that named the model.
        remedy: What to do instead.
        samples: Texts or pairs of the task, cut by both beside some that often tell.

    Raises:
        ModelError: If vocabulary or cutting differ.
    """
    ours, theirs = teacher.get_vocab(), other.get_vocab()
    if ours != theirs:
        differ = sum(theirs.get(token) != index for token, index in ours.items())
        raise ModelError(
            f"{where}: its tokeniser is not the teacher's ({len(theirs)} tokens against"
            f" {len(ours)}, of which {differ} differ); {remedy}"
        )
    if tokenizer_fingerprint(teacher) == tokenizer_fingerprint(other):
        return
    for probe in (*_PROBES, *samples):
        if teacher(*probe)["input_ids"] != other(*probe)["input_ids"]:
            raise ModelError(
                f"{where}: its tokeniser has the teacher's vocabulary but cuts text otherwise"
                f" (case, accents, or what stands between texts), such as"
                f" {' | '.join(probe)[:60]!r}; {remedy}"
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


def check_alignment(needs: Needs, data: Data) -> None:
    """Refuse to compare token with token where each model has its own tokens.

    Args:
        needs: What the objective asks for.
        data: The rows as the student reads them.

    Raises:
        ConfigError: If it looks inside and the tokenisers differ.
    """
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
            " than in float32, perhaps many times; leave out trainer=fast",
            precision,
        )
