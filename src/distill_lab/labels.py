"""Which answer of a classifier is which label: orders told by name, heads put in order."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from distill_lab.errors import ModelError


def label_names(config: PretrainedConfig) -> list[str]:
    """Return a model's label names in the order of its logits."""
    return [str(label) for _, label in sorted((config.id2label or {}).items())]


def is_generic(names: Sequence[str]) -> bool:
    """Whether names say nothing (LABEL_0, 1), so that the order must be taken as it is."""
    return all(re.fullmatch(r"(label_?)?\d+", name.strip().lower()) for name in names)


def contradicts_itself(config: PretrainedConfig) -> bool:
    """Whether a configuration's two tables of labels say different things."""
    back = {_plain(str(label)): int(index) for label, index in (config.label2id or {}).items()}
    forth = {int(index): _plain(str(label)) for index, label in (config.id2label or {}).items()}
    return any(back.get(label, index) != index for index, label in forth.items())


def label_order(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Return where each wanted label stands among a model's.

    Case, spaces, hyphens and underscores do not matter.

    Args:
        names: The model's labels, in the order of its logits.
        wanted: The task's labels, in the order of their ids.

    Returns:
        Positions in `names`, or None where the names do not tell.
    """
    have = [_plain(name) for name in names]
    ask = [_plain(name) for name in wanted]
    if len(set(have)) != len(have) or sorted(have) != sorted(ask):
        return None
    return [have.index(name) for name in ask]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


def reorder_head(
    model: PreTrainedModel, order: Sequence[int], where: str, finetune: str | None
) -> None:
    """Let a classifier give its logits in another order.

    The rows of its last linear layer change place, so that layers copied from it, and what is saved
    of it, have the new order too. Checked on a row of tokens.

    Args:
        model: A classifier.
        order: Logit i becomes the present logit `order[i]`.
        where: Key and value that named the model, for the error.
        finetune: Key that asks for fine-tuning, the remedy where that is impossible; None lets such
            a model stay as it is.

    Raises:
        ModelError: If the model has no last linear layer that gives the logits.
    """
    before = _probe(model)
    heads = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == len(order)
        and not name.startswith(f"{model.base_model_prefix}.")
    ]
    for last in heads[-1:]:
        _permute(last, order)
        if torch.allclose(_probe(model), before[:, list(order)], atol=1e-5):
            return
        _permute(last, [list(order).index(i) for i in range(len(order))])
    if finetune is not None:
        raise ModelError(
            f"{where}: it has the task's labels in another order, and {type(model).__name__} has no"
            f" last layer that could be re-ordered; fine-tune it anew with {finetune}=true"
        )


def _permute(layer: nn.Linear, order: Sequence[int]) -> None:
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(value[list(order)].clone())


def _probe(model: PreTrainedModel) -> torch.Tensor:
    training = model.training
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(_something(model)).logits.float()
    model.train(training)
    return logits


def _something(model: PreTrainedModel) -> torch.Tensor:
    """Return a row of tokens, or a picture."""
    if model.main_input_name != "pixel_values":
        tokens = torch.arange(1, 9, device=model.device)[None]
        return tokens % int(model.config.vocab_size)
    size = getattr(model.config, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(model.config, "num_channels", 3)
    numbers = channels * height * width
    picture = torch.linspace(-1, 1, numbers, device=model.device)
    return picture.view(1, channels, height, width)
