"""Building models of given sizes, with random weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from distill_lab.errors import ConfigError
from distill_lab.heads import head, new_network
from distill_lab.types import Problem

_LAYERS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers"}
_IS_SIZE = re.compile(r"^(num|n)_|_(sizes?|dim|layers|heads|embeddings)$")
_MOST_LAYERS, _MOST = 4096, 2**24


def new_model(
    sizes: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
    max_length: int,
    problem: Problem,
    key: str,
    more: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """Build a model of given sizes with random weights.

    Args:
        sizes: Arguments of the transformers configuration, with `model_type`; they win over
            what tokeniser and rows ask for.
        tokenizer: Gives the vocabulary and the special tokens; None where rows are no text.
        max_length: Longest row.
        problem: Gives the head.
        key: Configuration key of the sizes, for errors.
        more: What else the rows ask for.

    Raises:
        ConfigError: If the architecture is unknown or the sizes do not fit together.
    """
    fitted = {**_of_tokenizer(tokenizer, max_length), **(more or {})}
    _refuse_giants(sizes, key)
    with _told(key):
        config = AutoConfig.for_model(**{**fitted, **sizes, **head(problem)})
        _refuse_two_names(config, sizes, key)
        if tokenizer is not None:
            _make_room(config, len(tokenizer), max_length, sizes, key)
        return new_network(config, problem)


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Tell what an architecture refuses: each raises another error for sizes that do not fit."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        reason = " ".join((str(error).strip() or type(error).__name__).split())[:300]
        raise ConfigError(f"{key}: no model can be made of these sizes ({reason})") from error


def _refuse_giants(sizes: Mapping[str, Any], key: str) -> None:
    """Refuse sizes below 0, and those of which the building alone would never end.

    Raises:
        ConfigError: If one is.
    """
    for name, value in sizes.items():
        most = _MOST_LAYERS if name in _LAYERS else _MOST
        numbers = value if isinstance(value, list) else [value]
        if _IS_SIZE.search(name) and any(
            isinstance(n, int) and not 0 <= n <= most for n in numbers
        ):
            raise ConfigError(f"{key}.{name}={value}: not below 0, and at most {most:,}")


def _refuse_two_names(config: PretrainedConfig, sizes: Mapping[str, Any], key: str) -> None:
    """Refuse sizes of which one has overruled another.

    Architectures have names of their own for what others call `hidden_size`, and know both.

    Raises:
        ConfigError: If one has.
    """
    for name, value in sizes.items():
        found = getattr(config, name, value)
        if found == value or (isinstance(found, (list, tuple)) and list(found) == list(value)):
            continue
        others = config.attribute_map.items()
        other = next((alias for alias, own in others if own == name and alias in sizes), None)
        because = (
            f", for {other} is another name for it; take that out: ~{key}.{other}" if other else ""
        )
        raise ConfigError(f"{key}.{name}={value}: the model would have {found}{because}")


def _of_tokenizer(tokenizer: PreTrainedTokenizerBase | None, max_length: int) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": max_length,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id or tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id or tokenizer.eos_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }


def _make_room(
    config: PretrainedConfig, tokens: int, max_length: int, sizes: Mapping[str, Any], key: str
) -> None:
    """Give a configuration as many positions as the rows need.

    Raises:
        ConfigError: If sizes that are given leave too little room.
    """
    if config.vocab_size < tokens:
        raise ConfigError(
            f"{key}.vocab_size={config.vocab_size}: the tokeniser has {tokens} tokens; leave it out"
        )
    longest = longest_input(config, max_length)
    if longest is None or longest >= max_length:
        return
    if "max_position_embeddings" in sizes:
        raise ConfigError(
            f"{key}.max_position_embeddings={sizes['max_position_embeddings']}: that takes at most"
            f" {longest} tokens, task.max_length is {max_length}; leave it out"
        )
    config.max_position_embeddings += max_length - longest


def longest_input(config: PretrainedConfig, asked: int) -> int | None:
    """Return how many tokens a model takes, None where it names no bound.

    RoBERTa and its kin count positions from the padding id on, so that some of them are never used;
    the network tells, and is looked at, without weights, where it matters.

    Args:
        config: The model's configuration.
        asked: Length that is asked for.
    """
    longest: int | None = getattr(config, "max_position_embeddings", None)
    if longest is None or asked < longest - 8 or asked > longest:
        return longest
    with torch.device("meta"):
        network = AutoModel.from_config(config)
    for name, module in network.named_modules():
        if name.endswith("position_embeddings"):
            skipped = getattr(module, "padding_idx", None)
            return longest if skipped is None else longest - int(skipped) - 1
    return longest


def new_name(sizes: Mapping[str, Any]) -> str:
    """Return what tables call a new model: its kind, its layers and their width."""
    kind = str(sizes.get("model_type"))
    if "hidden_sizes" in sizes:
        return f"{kind} {'-'.join(map(str, sizes['hidden_sizes']))}"
    names = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))
    layers, width = (next((sizes[n] for n in pair if n in sizes), "?") for pair in names)
    return f"{kind} {layers} x {width}"
