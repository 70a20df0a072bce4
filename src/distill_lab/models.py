"""Loading models and tokenisers by folder or hub name, with errors that a person understands."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.hub import cached_file

from distill_lab.attention import is_causal
from distill_lab.errors import ModelError, first_line, go_online
from distill_lab.heads import family, has_head, head, model_class
from distill_lab.labels import label_names, label_order, reorder_head
from distill_lab.store import file_digest
from distill_lab.types import Problem

# What transformers raises of files that are not what their names say.
_REFUSALS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
_NEW = {"teacher.model": " take a new small model (teacher.model=null teacher.lr=1e-3),"}
_LONGEST = 200  # letters; hub names have at most 96
_WEIGHTS = ("*.safetensors", "*.bin")


def load_config(name: str, key: str = "") -> PretrainedConfig:
    """Load a model's configuration.

    Args:
        name: Folder or hub name.
        key: Configuration key that gave it, for errors; empty where it was typed by itself.

    Raises:
        ModelError: If there is none.
    """
    _check_name(name, key)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(name)
    except _REFUSALS as error:
        raise _unreachable(name, key, "config.json", error) from error
    return config


def load_tokenizer(name: str, key: str) -> PreTrainedTokenizerBase:
    """Load a model's tokeniser.

    Raises:
        ModelError: If there is none.
    """
    _check_name(name, key)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    except _REFUSALS as error:
        raise _unreachable(name, key, "tokeniser", error) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # For a folder without one transformers makes one up, of special tokens alone.
        raise _unreachable(name, key, "tokeniser", OSError("it has no words"))
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # decoders come without one
    return tokenizer


def agree_on_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Tell a model that looks left which token is padding: its classifier reads the one before.

    transformers looks for the last token that differs from the configuration's pad id, whatever the
    attention mask says.
    """
    if tokenizer is None or tokenizer.pad_token_id is None:
        return
    if is_causal(model.config):
        model.config.pad_token_id = tokenizer.pad_token_id


def load_model(
    name: str, problem: Problem, key: str, finetune: str | None = None, whole: bool = False
) -> PreTrainedModel:
    """Load a model with a head for the problem, in float32 whatever precision is stored.

    A head that the checkpoint lacks is drawn from torch's random state; one that has the problem's
    labels in another order, told by their names, is put in order.

    Args:
        name: Folder or hub name.
        problem: Gives the number and names of the labels.
        key: Configuration key that gave the name, for errors.
        finetune: Key that asks for fine-tuning, for the error of a model whose labels cannot be put
            in order; None where it is trained before it answers, so that the order does not matter.
        whole: Whether the head, too, must be in the checkpoint.

    Raises:
        ModelError: If there are no weights, they are not those of the architecture, or its labels
            cannot be put in order.
    """
    stored = load_config(name, key)
    if model_class(stored, problem) is None:
        raise ModelError(
            f"{key}={name}: transformers has no {stored.model_type} for {family(problem).card};"
            " take another architecture"
        )
    try:
        model, info = family(problem).auto.from_pretrained(
            name,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **head(problem),
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreachable(name, key, "weights", error) from error
    prefix = f"{model.base_model_prefix}."
    # A mismatch is allowed for the head alone, which may be drawn anew for other labels.
    odd = [*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])]
    absent = [k for k in odd if (whole or k.startswith(prefix)) and ".pooler." not in k]
    if absent:
        raise ModelError(
            f"{key}={name}: the checkpoint lacks {len(absent)} weights of {type(model).__name__},"
            f" or has them in another shape (such as {absent[0]}); it is damaged or of another"
            " architecture"
        )
    if problem.has_labels and has_head(stored, problem):
        order = label_order(label_names(stored), problem.labels)
        if order is not None and order != sorted(order):
            reorder_head(model, order, f"{key}={name}", finetune)
    return model  # type: ignore[no-any-return]


def weights_fingerprint(name: str, key: str) -> str:
    """Return 16 digits that change with a checkpoint's configurations or weights.

    Args:
        name: Folder or hub name.
        key: Configuration key that gave it, for errors.

    Raises:
        ModelError: If there are no weights.
    """
    folder = Path(name) if Path(name).is_dir() else _in_hub_cache(name)
    if folder is None:
        _fill_cache(name, key)
        folder = Path(str(cached_file(name, "config.json"))).parent
    told = (folder / name for name in ("config.json", "generation_config.json"))
    files = (*(file for file in told if file.is_file()), *weight_files(folder, key))
    found = ((path, path.stat()) for path in files)
    parts = [_digest(path, at.st_size, at.st_mtime_ns) for path, at in found]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _fill_cache(name: str, key: str) -> None:
    try:
        AutoModel.from_pretrained(name)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreachable(name, key, "weights", error) from error


@lru_cache
def _digest(path: Path, size: int, changed: int) -> str:
    return file_digest(path)


def _in_hub_cache(name: str) -> Path | None:
    """Return the folder of the hub cache that holds a model, None if its weights are not there."""
    try:
        folder = Path(str(cached_file(name, "config.json"))).parent
    except OSError:
        return None
    return folder if any(any(folder.glob(pattern)) for pattern in _WEIGHTS) else None


def weight_files(folder: Path, key: str) -> list[Path]:
    """Return a folder's weight files.

    Raises:
        ModelError: If there are none, or one may not be read.
    """
    files = sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if not files:
        raise ModelError(
            f"{key}={folder}: the folder has no weights (model.safetensors or pytorch_model.bin)"
        )
    for file in files:
        try:
            file.open("rb").close()
        except OSError as error:
            raise ModelError(
                f"{key}={folder}: {file.name} cannot be read ({error.strerror})"
            ) from error
    return files


def state_fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return 16 digits that change with any bit of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def count_parameters(model: PreTrainedModel) -> int:
    """Return the number of weights of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check_name(name: str, key: str) -> None:
    path = Path(name)
    looks_like_path = path.is_absolute() or name.startswith(".") or name.count("/") > 1
    there = os.path.isdir(path)  # which is false for a name that no folder can have
    if not there and (looks_like_path or len(name) > _LONGEST):
        raise ModelError(f"{_typed(name, key)}: there is no such folder")
    if there and not (path / "config.json").is_file():
        raise ModelError(f"{_typed(name, key)}: the folder has no config.json; it is not a model")


def _typed(name: str, key: str) -> str:
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return f"{key}={short}" if key else short


def _unreachable(name: str, key: str, part: str, error: Exception) -> ModelError:
    if Path(name).is_dir():
        first = first_line(error)
        return ModelError(f"{_typed(name, key)}: the folder's {part} cannot be loaded ({first})")
    return ModelError(
        f"{_typed(name, key)}: neither a folder here nor in the hub cache, and the hub is out of"
        " reach or does not know it; give a folder, check the name,"
        f"{_NEW.get(key, '')} or {go_online()}"
    )
