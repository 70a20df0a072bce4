"""What attention is computed from, caught where transformers hands it to the kernel.

Every model written for transformers' attention interface calls one function per layer with its
queries, keys and values, after rotary positions and before mask, softmax and dropout. Ours keeps
references to them and goes on to SDPA. So the fast kernel stays, dropout has no part, and one hook
serves all architectures, whatever their projections are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from distill_lab.errors import ModelError
from distill_lab.types import Attention

_NAME = "sdpa_caught"
_catching: ContextVar[_Catch | None] = ContextVar("catching", default=None)


class _Catch:
    """Counts the layers as they compute and keeps what is wanted of them."""

    def __init__(self, wanted: Sequence[int], found: dict[int, Attention]) -> None:
        self.wanted = set(wanted)
        self.layer = 0
        self.found = found


@contextmanager
def caught(
    model: PreTrainedModel, layers: Sequence[int], into: dict[int, Attention]
) -> Iterator[None]:
    """Keep queries, keys and values of some layers while the model runs.

    Args:
        model: Switched to an attention function that computes what SDPA does.
        layers: Which, counted from 1.
        into: Filled with what is caught, by layer.

    Raises:
        ModelError: If the model computes attention in its own way.
    """
    _switch(model)
    token = _catching.set(_Catch(layers, into))
    try:
        yield
    finally:
        _catching.reset(token)


def can_be_caught(model: type[PreTrainedModel]) -> bool:
    """Whether a class of models hands its attention to transformers' interface."""
    return bool(model._can_set_attn_implementation())


def head_width(config: PretrainedConfig) -> int:
    """Return the width of an attention head."""
    width: int = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    return width


def is_causal(config: PretrainedConfig) -> bool:
    """Whether a model sees only the tokens to the left."""
    kind = config.model_type
    writes = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    fills_in = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return (writes and not fills_in) or bool(getattr(config, "is_decoder", False))


def _switch(model: PreTrainedModel) -> None:
    if model.config._attn_implementation == _NAME:
        return
    if not can_be_caught(type(model)):
        raise ModelError(
            f"{type(model).__name__} computes attention in its own way, so queries, keys and"
            " values cannot be had; use an objective on logits or hidden states"
        )
    model.set_attn_implementation(_NAME)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    catch = _catching.get()
    if catch is not None:
        catch.layer += 1
        if catch.layer in catch.wanted:
            heads = query.shape[1] // key.shape[1]
            catch.found[catch.layer] = Attention(
                query,
                repeat_kv(key, heads),
                repeat_kv(value, heads),
                query.shape[-1] ** -0.5 if scaling is None else scaling,
                _allowed(module, query, attention_mask, options.get("is_causal")),
            )
    answer, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )
    return answer, None


def _allowed(
    module: nn.Module, query: Tensor, mask: Tensor | None, is_causal: bool | None
) -> Tensor | None:
    if mask is not None:
        return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if not causal:
        return None
    length = query.shape[2]
    return torch.ones(length, length, dtype=torch.bool, device=query.device).tril()


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
