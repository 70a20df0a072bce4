"""Models that do not fit the rows or each other, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distill_lab.attention import is_causal
from distill_lab.errors import ConfigError, ModelError, first_line
from distill_lab.heads import new_network
from distill_lab.labels import contradicts_itself, is_generic, label_names, label_order
from distill_lab.new_models import longest_input
from distill_lab.tasks import Data, Task
from distill_lab.tasks.tokens import tokenizer_fingerprint

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
    if data.tokenizer is None:
        _check_pictures(config, data, key, name)
        return
    if data.problem.kind == "causal_lm" and not is_causal(config):
        raise ConfigError(
            f"{key}={name}: it sees the words that it is to predict; take a model that looks left,"
            " such as gpt2, or task=masked_lm"
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


def _check_pictures(config: PretrainedConfig, data: Data, key: str, name: str) -> None:
    """Refuse a model that reads pictures of another size, or another number of channels."""
    size, channels = list(data.sizes["image_size"]), data.sizes["num_channels"]
    try:
        with torch.device("meta"):
            new_network(config, data.problem)(pixel_values=torch.empty(1, channels, *size))
    except (ValueError, RuntimeError) as error:
        reason = first_line(error)
        raise ConfigError(
            f"task.size={size}, task.channels={channels}: {key}={name} does not read such pictures"
            f" ({reason})"
        ) from error


def check_learnable(data: Data, settings: str) -> None:
    """Refuse to fine-tune a teacher on rows of which none has a label.

    Args:
        data: The rows.
        settings: Where the teacher's keys stand.

    Raises:
        ConfigError: If none has.
    """
    if len(data.of_teacher().train) == 0:
        raise ConfigError(
            f"{settings}.finetune: the training rows have no answers from which the teacher could"
            f" learn; take {settings}.finetune=false, or give some"
        )


def check_labels(config: PretrainedConfig, task: Task, where: str, finetune: str) -> None:
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
    if not task.problem.has_labels:
        return
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
