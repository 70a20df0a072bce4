"""A transformer as a stack of layers: where it is, and the weights of some of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError

State = Mapping[str, Tensor]
# What configurations list layer by layer: kinds of attention, and Longformer's windows.
_OF_EACH_LAYER = ("layer_types", "attention_window", "attention_layers")


def stack_name(model: PreTrainedModel) -> str:
    """Return the dotted name of the list that holds a transformer's layers.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    total = model.config.num_hidden_layers
    stacks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == total
    ]
    outermost = [name for name in stacks if not any(name.startswith(f"{s}.") for s in stacks)]
    if len(outermost) != 1:
        raise ConfigError(
            f"student: {type(model).__name__} has no single stack of {total} layers to take from;"
            " use student=scratch or student=pretrained"
        )
    return str(outermost[0])


def layer_of(name: str, prefix: str) -> tuple[int, str] | None:
    """Return the number of the layer that a weight belongs to and its name there, else None."""
    match = re.match(rf"{re.escape(prefix)}\.(\d+)\.", name)
    return None if match is None else (int(match[1]), name[match.end() :])


def keep_layers(state: State, prefix: str, layers: Sequence[int]) -> dict[str, Tensor]:
    """Return a state dict in which only some layers are left, renumbered in their new order.

    Args:
        state: Weights of the whole model.
        prefix: From `stack_name`.
        layers: Which, counted from 0.
    """
    new = {old: position for position, old in enumerate(layers)}
    kept = {}
    for name, value in state.items():
        where = layer_of(name, prefix)
        if where is None:
            kept[name] = value
        elif where[0] in new:
            kept[f"{prefix}.{new[where[0]]}.{where[1]}"] = value
    return kept


def with_layers(config: PretrainedConfig, layers: Sequence[int]) -> PretrainedConfig:
    """Return a copy of a configuration for a model that keeps only these layers."""
    total, config = config.num_hidden_layers, copy.deepcopy(config)
    config.num_hidden_layers = len(layers)
    for name in _OF_EACH_LAYER:
        each = getattr(config, name, None)
        if isinstance(each, (list, tuple)) and len(each) == total:
            setattr(config, name, [each[layer] for layer in layers])
    if config.model_type == "gpt_neo":  # tells the kinds a second time, by how often they come
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]
    return config
