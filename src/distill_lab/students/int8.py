"""Int8 as it will be served, while it is trained: the arithmetic, and the layers that use it.

Numbers are rounded to those that integers stand for and go on as floats ("fake quantisation",
Jacob et al. 2018, arXiv 1712.05877, section 3); gradients pass the rounding unchanged (the
straight-through estimator, Bengio et al. 2013, arXiv 1308.3432). Layers change their class, not
their weights' names: checkpoints and `save_pretrained` are those of the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distill_lab.errors import ConfigError

MARK = "trained_for_int8"
"""Entry of a student's `config.json` that tells for what it was trained."""
_LEVELS = 255.0  # of uint8
_LARGEST = 127.0  # of int8, symmetric


def in_uint8(values: Tensor) -> Tensor:
    """Round activations to the 256 numbers that onnxruntime's `DynamicQuantizeLinear` keeps.

    Their range is that of the whole tensor and holds zero, which stays exact; halves are rounded to
    the even number. Gradients pass as if nothing was rounded.

    Args:
        values: Any shape; padding counts, as it does when the model is served.

    Returns:
        The same shape and type.
    """
    if values.numel() == 0:
        return values
    exact = values.float()
    low, high = torch.aminmax(exact.detach())
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = torch.where(high == low, 1.0, (high - low) / _LEVELS)
    zero = (-low / scale).round()
    # Divided as onnxruntime does: torch's own fake quantisation multiplies, and rounds other ties.
    steps = ((exact.detach() / scale).round() + zero).clamp(0.0, _LEVELS) - zero
    return _straight_through(exact, steps * scale).to(values.dtype)


def in_int8(weight: Tensor, channel: int) -> Tensor:
    """Round a weight matrix to int8 with one scale an output channel, symmetric about zero.

    As onnxruntime's `quantize_dynamic(per_channel=True)`. Gradients pass as if nothing was rounded.

    Args:
        weight: `[out, in]`, or `[in, out]`.
        channel: Which dimension is `out`.

    Returns:
        The same shape and type.
    """
    exact = weight.float()
    scale = exact.detach().abs().amax(1 - channel, keepdim=True) / _LARGEST
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, 1.0, scale)
    steps = (exact.detach() / scale).round().clamp(-_LARGEST, _LARGEST)
    return _straight_through(exact, steps * scale).to(weight.dtype)


def _straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """Return what is rounded, to the bit: the difference of two so near numbers is exact."""
    return exact + (rounded - exact.detach())


class Int8Linear(nn.Linear):
    """A linear layer that computes what its int8 form will."""

    channel = 0  # dimension of the weight that is `out`

    def forward(self, input: Tensor) -> Tensor:
        """Return `[..., out]` for `[..., in]`."""
        return F.linear(in_uint8(input), in_int8(self.weight, self.channel), self.bias)


class Int8Conv1D(Conv1D):
    """GPT-2's linear layer, whose weight is `[in, out]`, likewise."""

    channel = 1

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., out]` for `[..., in]`."""
        return F.linear(in_uint8(x), in_int8(self.weight, self.channel).T, self.bias)


_INT8: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Int8Linear, Conv1D: Int8Conv1D}
_FLOAT = {int8: exact for exact, int8 in _INT8.items()}


def to_int8(model: PreTrainedModel) -> PreTrainedModel:
    """Let a model's linear layers compute as in int8, from now on, in place.

    Embeddings and norms stay as they are, and so does an output layer that shares the embeddings'
    weights; attention's products of activations too. The model's configuration tells of it.

    Raises:
        ConfigError: If it has no linear layer.
    """
    shared = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    kept = []
    for name, module in model.named_modules():
        if type(module) not in _INT8:
            continue
        if id(module.weight) in shared:
            kept.append(name)
        else:
            module.__class__ = _INT8[type(module)]
    if not is_int8(model):
        raise ConfigError(
            f"student.of: {type(model).__name__} has no linear layers to be trained for int8; take"
            " the student itself"
        )
    setattr(model.config, MARK, told(kept))
    return model


def to_float(model: PreTrainedModel) -> PreTrainedModel:
    """Let a model compute in floats again, in place, as `transformers` does that loads it."""
    for module in model.modules():
        if type(module) in _FLOAT:
            module.__class__ = _FLOAT[type(module)]
    return model


def is_int8(model: nn.Module) -> bool:
    """Whether a model's linear layers compute as in int8."""
    return any(True for _ in _layers(model))


def told(kept: list[str]) -> dict[str, Any]:
    """Return what a student's `config.json` says.

    Args:
        kept: Names of linear layers that stay float.
    """
    return {
        "weights": "int8, symmetric, one scale an output channel",
        "activations": "uint8, range of the whole tensor, at run time",
        "float_layers": kept,
    }


def unmarked(model: PreTrainedModel) -> PreTrainedModel:
    """Let a model that computes in floats tell of no int8, in place.

    One that is made of a student that was trained for it would.
    """
    if not is_int8(model) and hasattr(model.config, MARK):
        delattr(model.config, MARK)
    return model


def sizes(model: PreTrainedModel) -> dict[str, float | int | None]:
    """Return the number of a model's weights; with the bytes they take in int8 if it is for that.

    These are one byte a weight and four bytes a scale of a layer that is int8, and four bytes for
    each other number.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    layers = list(_layers(model))
    if not layers:
        return {"parameters": total}
    weights = sum(layer.weight.numel() for layer in layers)
    scales = sum(layer.weight.shape[layer.channel] for layer in layers)
    return {"parameters": total, "int8_bytes": weights + 4 * (scales + total - weights)}


def _layers(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if type(module) in _FLOAT)
