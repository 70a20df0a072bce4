"""Tiny classifiers of every kind of transformer, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

SIZES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "electra": {"embedding_size": 16},
    "megatron-bert": {},
    "distilbert": {"n_layers": 4, "dim": 16, "n_heads": 2, "hidden_dim": 32},
    "gpt2": {"n_layer": 4, "n_embd": 16, "n_head": 2, "pad_token_id": 0},
    "llama": {"num_key_value_heads": 2, "pad_token_id": 0},
    "modernbert": {"pad_token_id": 0},
}
_COMMON = {
    "num_hidden_layers": 4,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


def stack(kind: str, **sizes: Any) -> PreTrainedModel:
    """A model of 4 layers and 3 labels, in evaluation mode; the same one each time."""
    common = {} if kind in ("distilbert", "gpt2") else _COMMON
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=50,
        initializer_range=0.3,
        **{"num_labels": 3, **common, **SIZES[kind], **sizes},
    )
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model.eval()
