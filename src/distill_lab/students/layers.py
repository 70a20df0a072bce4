"""A student made of some of the teacher's layers."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.students.base import Student
from distill_lab.tasks import Data
from distill_lab.teachers import Live
from distill_lab.types import Problem

log = logging.getLogger(__name__)
Selection = Literal["uniform", "first", "last"]


def select_layers(total: int, keep: int, select: Selection | Sequence[int]) -> list[int]:
    """Return which layers a student takes, counted from 0.

    Args:
        total: Layers of the teacher.
        keep: Layers of the student.
        select: "uniform" spreads them evenly from the first to the last (6 of 12 gives 0, 2, 4,
            7, 9, 11, as DistilBERT), "first", "last", or the layers themselves.

    Raises:
        ConfigError: If the teacher has not these layers.
    """
    if not isinstance(select, str):
        if len(select) != keep or any(not 0 <= layer < total for layer in select):
            raise ConfigError(
                f"student.select={list(select)}: {keep} layers between 0 and {total - 1} are needed"
            )
        return list(select)
    if not 1 <= keep <= total:
        raise ConfigError(
            f"student.num_layers={keep}: the teacher has {total} layers; take 1 to {total}"
        )
    if select == "first":
        return list(range(keep))
    if select == "last" or keep == 1:
        return list(range(total - keep, total))
    return [int(layer) for layer in np.rint(np.linspace(0, total - 1, keep))]


class Layers(Student):
    """The teacher's embeddings, some of its layers, and its head.

    Args:
        num_layers: How many layers the student has.
        select: Which of the teacher's: "uniform", "first", "last", or a list counted from 0.

    Raises:
        ConfigError: If the number is not positive.
    """

    def __init__(self, *, num_layers: int, select: Selection | Sequence[int] = "uniform") -> None:
        if num_layers < 1:
            raise ConfigError(f"student.num_layers={num_layers}: at least 1 layer is needed")
        self.num_layers = num_layers
        self.select = select

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Refuse layers that the teacher has not; return the student's configuration.

        Raises:
            ConfigError: If the teacher has too few.
        """
        chosen = select_layers(teacher.num_hidden_layers, self.num_layers, self.select)
        return with_layers(teacher, chosen)

    def build(self, teacher: Live, data: Data, problem: Problem) -> PreTrainedModel:
        """Return the student, in float32, with copies of the teacher's weights."""
        total = teacher.model.config.num_hidden_layers
        chosen = select_layers(total, self.num_layers, self.select)
        return take_layers(teacher.model, chosen)


def take_layers(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Return a copy of a transformer that keeps only these layers, in this order.

    Args:
        teacher: Any transformers model with one stack of `num_hidden_layers` layers.
        layers: Which, counted from 0.

    Raises:
        ConfigError: If the stack of layers cannot be found, or its layers are not alike.
    """
    prefix = stack_name(teacher)
    config = with_layers(teacher.config, layers)
    student: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    new = {old: position for position, old in enumerate(layers)}
    pattern = re.compile(rf"^{re.escape(prefix)}\.(\d+)\.")
    state = {}
    for name, value in teacher.state_dict().items():
        match = pattern.match(name)
        if match is None:
            state[name] = value
        elif int(match[1]) in new:
            state[f"{prefix}.{new[int(match[1])]}.{name[match.end() :]}"] = value
    _load(student, state)
    return student


def with_layers(config: PretrainedConfig, layers: Sequence[int]) -> PretrainedConfig:
    """Return a copy of a configuration for a model that keeps only these layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = len(layers)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kinds[layer] for layer in layers]
    return config


def _load(student: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Load weights; a norm may be left out or keep its start where a layer has changed place.

    ModernBERT's first layer, for one, has no norm of its own before attention: the embeddings' norm
    stands there.
    """
    missing, unexpected = student.load_state_dict(state, strict=False)
    odd = [*missing, *unexpected]
    if any("norm." not in name.lower() for name in odd):
        raise ConfigError(
            f"student.select: the layers of {type(student).__name__} are not alike ({odd[0]});"
            " begin with layer 0, as student.select=uniform and first do"
        )
    if odd:
        log.info("student: %s does not fit its new place and is left out or new", ", ".join(odd))


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
