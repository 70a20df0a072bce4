"""Narrower students: which heads, units and dimensions of the teacher they keep.

Sizes decide what is cut: a weight is cut along every axis on which the student's is shorter. What
the axis stands for is told by the layer's name where it is attention or feed-forward; every other
axis that gets shorter is the hidden width.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distill_lab.attention import head_width
from distill_lab.errors import ConfigError
from distill_lab.students.stack import State, layer_of, stack_name

Axis = Literal["hidden", "heads", "units"]
# The linear layers of BERT, RoBERTa and ELECTRA; DistilBERT; Llama and its kin; ModernBERT; GPT-2.
_FROM_HEADS = r"(attention\.output\.dense|out_lin|o_proj|attn\.Wo|attn\.c_proj)$"
_TO_HEADS = r"(self\.(query|key|value)|[qkv]_lin|[qkv]_proj|attn\.Wqkv|attn\.c_attn)$"
_FROM_UNITS = r"((?<!attention\.)output\.dense|ffn\.lin2|down_proj|mlp\.Wo|mlp\.c_proj)$"
_TO_UNITS = r"(intermediate\.dense|ffn\.lin1|gate_proj|up_proj|mlp\.Wi|mlp\.c_fc)$"
# Those whose layers are called so, and whose norms multiply by their weight.
_KNOWN = (
    "bert", "roberta", "xlm-roberta", "camembert", "electra", "megatron-bert", "distilbert", "gpt2",
    "llama", "mistral", "qwen2", "modernbert",
)  # fmt: skip
_UNITS = ("intermediate_size", "hidden_dim", "n_inner")  # what configurations call their number


@dataclass(frozen=True)
class Sizes:
    """The sizes that narrowing changes.

    Attributes:
        hidden: Width of the hidden states.
        heads: Attention heads.
        key_heads: Heads of keys and values; fewer where several heads share them.
        head: Width of a head; always kept.
        units: Units of a feed-forward layer.
    """

    hidden: int
    heads: int
    key_heads: int
    head: int
    units: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> Sizes:
        """Read a configuration."""
        heads = config.num_attention_heads
        units = getattr(config, _units_key(config)) or 4 * config.hidden_size
        return cls(
            hidden=config.hidden_size,
            heads=heads,
            key_heads=getattr(config, "num_key_value_heads", None) or heads,
            head=head_width(config),
            units=units,
        )

    @staticmethod
    def changes(teacher: PretrainedConfig, student: PretrainedConfig) -> bool:
        """Whether a student is narrower than its teacher."""
        return student is not teacher and Sizes.of(teacher) != Sizes.of(student)


def _units_key(config: PretrainedConfig) -> str:
    found = next((key for key in _UNITS if hasattr(config, key)), None)
    if found is None or config.model_type not in _KNOWN:
        raise ConfigError(
            f"student: it is not known how to narrow a {config.model_type}; use student=scratch"
            " with sizes, or leave hidden_size and intermediate_size out"
        )
    return found


def narrowed(config: PretrainedConfig, hidden: int | None, units: int | None) -> PretrainedConfig:
    """Return a copy of a configuration with fewer dimensions, heads and units.

    Args:
        config: The teacher's.
        hidden: Width of the student, a multiple of the teacher's width of a head; None keeps it.
        units: Feed-forward units of a layer; None keeps them.

    Raises:
        ConfigError: If a size is larger than the teacher's or cannot be divided into its heads.
    """
    own, key = Sizes.of(config), _units_key(config)
    if hidden is not None and own.heads * own.head != own.hidden:
        raise ConfigError(
            f"student.hidden_size={hidden}: the teacher's {own.heads} heads of {own.head} are not"
            f" as wide as its hidden states ({own.hidden}), so the width cannot follow the heads;"
            " use student.intermediate_size alone, or student=scratch"
        )
    if hidden is not None and hidden == getattr(config, "embedding_size", None) != own.hidden:
        raise ConfigError(
            f"student.hidden_size={hidden}: the teacher's embeddings are as wide, and between equal"
            " widths there is no projection, so the teacher's has no place; take another width"
        )
    group = own.heads // own.key_heads
    step = own.head * group
    if hidden is not None and (hidden % step or not step <= hidden <= own.hidden):
        raise ConfigError(
            f"student.hidden_size={hidden}: heads keep their width, so multiples of {step} up to"
            f" {own.hidden} can be had"
        )
    if units is not None and not 1 <= units <= own.units:
        raise ConfigError(
            f"student.intermediate_size={units}: the teacher has {own.units} units; take 1 to"
            f" {own.units}"
        )
    config = copy.deepcopy(config)
    setattr(config, key, own.units if units is None else units)
    if hidden is not None:
        if getattr(config, "embedding_size", None) == own.hidden:  # ELECTRA without a projection
            config.embedding_size = hidden
        config.hidden_size = hidden
        config.num_attention_heads = hidden // own.head
        if getattr(config, "num_key_value_heads", None):
            config.num_key_value_heads = hidden // own.head // group
    return config


@dataclass(frozen=True)
class Kept:
    """What a student keeps, as sorted positions in the teacher.

    Attributes:
        hidden: Dimensions of the hidden states, the same in all layers.
        heads: Heads of keys and values, by layer; each with the heads that share it.
        units: Feed-forward units, by layer.
    """

    hidden: Tensor
    heads: Mapping[int, Tensor]
    units: Mapping[int, Tensor]

    @classmethod
    def first(cls, sizes: Sizes, layers: int) -> Kept:
        """Return the first of everything.

        Args:
            sizes: The student's.
            layers: The teacher's, from 0.
        """
        heads, units = torch.arange(sizes.key_heads), torch.arange(sizes.units)
        return cls(
            torch.arange(sizes.hidden),
            dict.fromkeys(range(layers), heads),
            dict.fromkeys(range(layers), units),
        )


def axes_of(model: PreTrainedModel, name: str) -> tuple[Axis, ...]:
    """Return what the axes of a weight stand for, if they are to be cut.

    Args:
        model: The teacher.
        name: Name of the weight in its state dict.
    """
    module_name, _, kind = name.rpartition(".")
    before = read_by(name) or "hidden"
    after: Axis = "hidden"
    if re.search(_TO_HEADS, module_name):
        after = "heads"
    elif re.search(_TO_UNITS, module_name):
        after = "units"
    if kind != "weight":
        return (after,)
    turned = isinstance(model.get_submodule(module_name), Conv1D)
    return (before, after) if turned else (after, before)


def read_by(name: str) -> Axis | None:
    """Return "heads" or "units" for a matrix that reads a layer's heads or units, else None."""
    module_name, _, kind = name.rpartition(".")
    if kind != "weight":
        return None
    if re.search(_FROM_HEADS, module_name):
        return "heads"
    return "units" if re.search(_FROM_UNITS, module_name) else None


def cut(model: PreTrainedModel, state: State, target: State, kept: Kept) -> dict[str, Tensor]:
    """Return the teacher's weights, cut to the shapes of the student's.

    Args:
        model: The teacher.
        state: Its weights by name.
        target: Weights of the student that keeps all layers, by the same names.
        kept: What stays.

    Raises:
        ConfigError: If a shape cannot be had by cutting.
    """
    prefix, sizes = stack_name(model), Sizes.of(model.config)
    found = {}
    for name, value in state.items():
        wanted = target[name].shape if name in target else value.shape
        layer = layer_of(name, prefix)
        for axis, meaning in enumerate(axes_of(model, name)[: value.dim()]):
            if value.shape[axis] != wanted[axis]:
                where = _positions(meaning, layer, value.shape[axis], kept, sizes)
                value = value.index_select(axis, where.to(value.device))
        if value.shape != wanted:
            raise ConfigError(
                f"student: it is not known how to narrow {name} of {type(model).__name__}; use"
                " student=scratch with sizes, or leave hidden_size and intermediate_size out"
            )
        found[name] = value
    return found


def _positions(
    meaning: Axis, layer: tuple[int, str] | None, length: int, kept: Kept, sizes: Sizes
) -> Tensor:
    """Return which positions of an axis stay.

    Queries, keys and values, or the two halves of a gated layer, may lie side by side in one axis.
    """
    if meaning == "hidden" or layer is None:
        return kept.hidden
    if meaning == "units":
        return _blocks(kept.units[layer[0]], 1, length // sizes.units, sizes.units)
    shared = re.search(r"\.[kv]_proj\.", layer[1]) is not None
    each = sizes.head if shared else sizes.head * (sizes.heads // sizes.key_heads)
    return _blocks(kept.heads[layer[0]], each, length // (each * sizes.key_heads), sizes.key_heads)


def _blocks(which: Tensor, width: int, times: int, total: int) -> Tensor:
    """Return the positions of blocks of a width, in each of several rows of `total` blocks."""
    inside = torch.arange(width, device=which.device)
    one = (which[:, None] * width + inside).flatten()
    return torch.cat([one + i * total * width for i in range(times)])
