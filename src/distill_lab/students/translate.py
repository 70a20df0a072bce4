"""Weights from one architecture to another that computes the same under other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.students.stack import State, layer_of, stack_name

# What each architecture calls the parts of a layer, in one order.
_BERT = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_DISTILBERT = (
    "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
    "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
)  # fmt: skip
_PARTS: Mapping[str, Sequence[str]] = {
    "bert": _BERT, "roberta": _BERT, "xlm-roberta": _BERT, "camembert": _BERT, "electra": _BERT,
    "distilbert": _DISTILBERT,
}  # fmt: skip
# A masked language model's head: dense, activation, norm, then the word embeddings and a bias.
_HEADS: Mapping[str, Sequence[str]] = {
    "bert": (
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder",
    ),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    "electra": (
        "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head",
    ),
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert"),
        ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    ),
}  # fmt: skip
# Whose positions are counted from the padding id on.
_OFFSET = ("roberta", "xlm-roberta", "camembert")
_TARGETS = ("bert", "distilbert", "roberta")


def translated(config: PretrainedConfig, architecture: str) -> PretrainedConfig:
    """Return the configuration of another architecture with the same sizes and labels.

    Args:
        config: The teacher's.
        architecture: "bert", "distilbert" or "roberta".

    Raises:
        ConfigError: If the two do not compute the same.
    """
    source = config.model_type
    if source not in _PARTS or architecture not in _TARGETS:
        raise ConfigError(
            f"student.architecture={architecture}: weights of {source} cannot be copied to it; from"
            f" {', '.join(_PARTS)} they can to {', '.join(_TARGETS)}"
        )
    if getattr(config, "embedding_size", config.hidden_size) != config.hidden_size:
        raise ConfigError(
            f"student.architecture={architecture}: the teacher's embeddings are"
            f" {config.embedding_size} wide, its layers {config.hidden_size}, and {architecture}"
            " has one width; leave architecture out"
        )
    pad = config.pad_token_id or 0
    usable = config.max_position_embeddings - (pad + 1 if source in _OFFSET else 0)
    positions = usable + (pad + 1 if architecture in _OFFSET else 0)
    sizes: dict[str, Any] = {"vocab_size": config.vocab_size, "pad_token_id": config.pad_token_id}
    sizes |= {"id2label": config.id2label, "label2id": config.label2id}
    sizes |= {"problem_type": config.problem_type, "max_position_embeddings": positions}
    sizes |= _distilbert(config) if architecture == "distilbert" else _bert(config)
    found: PretrainedConfig = AutoConfig.for_model(architecture, **sizes)
    return found


def _distilbert(config: PretrainedConfig) -> dict[str, Any]:
    return {
        "dim": config.hidden_size,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "hidden_dim": config.intermediate_size,
        "activation": config.hidden_act,
        "dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
    }


def _bert(config: PretrainedConfig) -> dict[str, Any]:
    small = config.model_type == "distilbert"
    return {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.hidden_dim if small else config.intermediate_size,
        "hidden_act": config.activation if small else config.hidden_act,
        "hidden_dropout_prob": config.dropout if small else config.hidden_dropout_prob,
        "attention_probs_dropout_prob": (
            config.attention_dropout if small else config.attention_probs_dropout_prob
        ),
        "layer_norm_eps": getattr(config, "layer_norm_eps", 1e-12),
        "type_vocab_size": getattr(config, "type_vocab_size", 2),
    }


def translate(
    teacher: PreTrainedModel, state: State, student: PreTrainedModel
) -> dict[str, Tensor]:
    """Return weights under the student's names; a classifier's head is left out, it is another one.

    Heads for spans and for hidden words are the same everywhere.

    Where architectures add other numbers to a variance (RoBERTa 1e-5, DistilBERT always 1e-12),
    hidden states differ by about as much. DistilBERT has no embeddings of segments: that of the
    first segment is added to the positions, so that single texts give the same hidden states as
    before; the second text of a pair is told from the first no more. An architecture that has
    segments, filled from one that has none, gets zeros.

    Args:
        teacher: Tells the names.
        state: Weights by the teacher's names, layers already chosen.
        student: Tells the names and shapes that are wanted.
    """
    source, target = teacher.config.model_type, student.config.model_type
    old, new = stack_name(teacher), stack_name(student)
    names = dict(zip(_PARTS[source], _PARTS[target], strict=True))
    found = {}
    for name, value in state.items():
        layer = layer_of(name, old)
        if layer is None:
            continue
        part, _, kind = layer[1].rpartition(".")
        found[f"{new}.{layer[0]}.{names[part]}.{kind}"] = value
    wanted = student.state_dict()
    theirs = f"{student.base_model_prefix}.embeddings"
    ours = _embeddings(state, f"{teacher.base_model_prefix}.embeddings")
    usable = _offset(teacher.config, source), _offset(student.config, target)
    found |= {f"{theirs}.{k}": v for k, v in _fitted(ours, wanted, theirs, usable).items()}
    found |= {k: v for k, v in state.items() if k.startswith("qa_outputs.") and k in wanted}
    return found | _words(state, wanted, source, target)


def _words(state: State, wanted: State, source: str, target: str) -> dict[str, Tensor]:
    """Return the head that predicts hidden words, where both have it."""
    pairs = zip(_HEADS[source], _HEADS[target], strict=True)
    names = {f"{old}.{kind}": f"{new}.{kind}" for old, new in pairs for kind in ("weight", "bias")}
    found = {new: state[old] for old, new in names.items() if old in state and new in wanted}
    # A second name of the same bias.
    alone = {"bert": "cls.predictions.bias", "roberta": "lm_head.bias"}.get(target, "")
    bias = found.get(f"{_HEADS[target][2]}.bias")
    return found if bias is None or alone not in wanted else {**found, alone: bias}


def _offset(config: PretrainedConfig, kind: str) -> int:
    return (config.pad_token_id or 0) + 1 if kind in _OFFSET else 0


def _embeddings(state: State, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in state.items()
        if name.startswith(f"{prefix}.") and value.dim() > 0 and "_ids" not in name
    }


def _fitted(
    ours: dict[str, Tensor], wanted: State, prefix: str, offsets: tuple[int, int]
) -> dict[str, Tensor]:
    """Return embeddings in the student's form: segments and the first position's place."""
    found = dict(ours)
    positions = found["position_embeddings.weight"][offsets[0] :]
    segments = found.pop("token_type_embeddings.weight", None)
    same = f"{prefix}.token_type_embeddings.weight"
    if same not in wanted:
        positions = positions if segments is None else positions + segments[0]
    elif segments is None:
        found["token_type_embeddings.weight"] = torch.zeros_like(wanted[same])
    else:
        found["token_type_embeddings.weight"] = segments
    unused = positions.new_zeros(offsets[1], positions.shape[1])
    found["position_embeddings.weight"] = torch.cat([unused, positions])
    return found
