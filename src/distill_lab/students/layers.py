"""A student made of the teacher: some of its layers, or narrower, or under another name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError, refuse
from distill_lab.heads import new_network
from distill_lab.students.base import Student
from distill_lab.students.importance import most_important
from distill_lab.students.narrow import Kept, Sizes, cut, narrowed
from distill_lab.students.stack import keep_layers, stack_name, with_layers
from distill_lab.students.translate import translate, translated
from distill_lab.tasks import Data
from distill_lab.teachers import Source

log = logging.getLogger(__name__)
Selection = Literal["uniform", "distilbert", "first", "last", "random"]
_DISTILBERT = [0, 2, 4, 7, 9, 11]


def select_layers(total: int, keep: int, select: Selection | Sequence[int]) -> list[int]:
    """Return which layers a student takes, counted from 0.

    Args:
        total: Layers of the teacher.
        keep: Layers of the student.
        select: "uniform" spreads them evenly from the first to the last (6 of 12 gives 0, 2, 4,
            7, 9, 11), "distilbert" is exactly that choice (Sanh et al. 2019), "first", "last", the
            layers themselves, or "random", which takes none and whose places are those of "first".

    Raises:
        ConfigError: If the teacher has not these layers.
    """
    if not isinstance(select, str):
        inside = all(0 <= layer < total for layer in select)
        if len(select) != keep or len(set(select)) != keep or not inside:
            raise ConfigError(
                f"student.select={list(select)}: {keep} layers between 0 and {total - 1} are"
                " needed, each once"
            )
        return list(select)
    if not 1 <= keep <= total:
        raise ConfigError(
            f"student.num_layers={keep}: the teacher has {total} layers; take 1 to {total}"
        )
    if select == "distilbert":
        if (keep, total) != (6, 12):
            raise ConfigError(
                "student.select=distilbert: stands for 6 of 12 layers, here it would be"
                f" {keep} of {total}; use student.select=uniform, which spreads any number"
            )
        return list(_DISTILBERT)
    if select in ("first", "random"):
        return list(range(keep))
    if select == "last" or keep == 1:
        return list(range(total - keep, total))
    return [int(layer) for layer in np.rint(np.linspace(0, total - 1, keep))]


class Layers(Student):
    """The teacher's embeddings, some of its layers, and its head; narrower where sizes are given.

    Args:
        num_layers: How many layers the student has.
        select: Which of the teacher's: "uniform", "distilbert", "first", "last", or a list counted
            from 0. "random" is the control: the network of "first" with nothing of the teacher's
            weights.
        hidden_size: Width of the student, a multiple of the width of the teacher's heads; the heads
            and dimensions that matter most are kept (see `importance.most_important`).
        intermediate_size: Feed-forward units of a layer; those that matter most are kept.
        importance_rows: Training rows from which importance is taken.
        architecture: "bert", "distilbert" or "roberta" turns an encoder of that family into
            another, with a new head; None keeps the teacher's.

    Raises:
        ConfigError: If a number is not positive.
    """

    def __init__(
        self,
        *,
        num_layers: int,
        select: Selection | Sequence[int] = "uniform",
        hidden_size: int | None = None,
        intermediate_size: int | None = None,
        importance_rows: int = 256,
        architecture: str | None = None,
    ) -> None:
        rows = importance_rows
        refuse({
            f"student.num_layers={num_layers}: at least 1 layer is needed": num_layers < 1,
            f"student.importance_rows={rows}: at least 1 is needed": rows < 1,
        })  # fmt: skip
        self.num_layers = num_layers
        self.select = select
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.importance_rows = importance_rows
        self.architecture = architecture

    def _warn(self, teacher: PretrainedConfig) -> None:
        """Say where a student is no smaller than its teacher."""
        total = teacher.num_hidden_layers
        if total == self.num_layers and not (self.hidden_size or self.intermediate_size):
            log.warning(
                "student: it takes all %d layers of its teacher, so it is no smaller;"
                " student.num_layers=%d would take half of them", total, max(1, total // 2),
            )  # fmt: skip

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Refuse what the teacher has not; return the student's configuration.

        The weights are taken once on trial, without memory for them.

        Raises:
            ConfigError: If the teacher has too few layers, sizes or names do not fit, or its layers
                cannot be told apart.
        """
        try:
            config = self._config(teacher)
        except AttributeError as error:
            raise ConfigError(
                f"student.num_layers={self.num_layers}: a {teacher.model_type} is no stack of"
                " layers that are alike; use student=scratch or student=pretrained"
            ) from error
        try:
            with torch.device("meta"):
                model = new_network(teacher, data.problem)
                student = new_network(config, data.problem)
        except (AssertionError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"student.num_layers={self.num_layers}: no {teacher.model_type} can be made of"
                f" these layers ({reason[0]}); use student=scratch or student=pretrained"
            ) from error
        self._fill(
            student, model, lambda: Kept.first(self._sizes(teacher), teacher.num_hidden_layers)
        )
        return config

    def build(self, teacher: Source, data: Data) -> PreTrainedModel:
        """Return the student, in float32, with copies of the teacher's weights."""
        model = teacher.model
        self._warn(model.config)

        def kept() -> Kept:
            log.info("student: what matters most, from %d rows", self.importance_rows)
            return most_important(
                model, data.of_teacher().train, self.importance_rows, self._sizes(model.config)
            )

        student = new_network(self._config(model.config), data.problem)
        self._fill(student, model, kept)
        return student

    def _fill(
        self, student: PreTrainedModel, model: PreTrainedModel, kept: Callable[[], Kept]
    ) -> None:
        """Load the teacher's weights, as they are chosen, cut and renamed.

        Args:
            student: Gets them.
            model: The teacher.
            kept: What a narrower student keeps; asked only for one.
        """
        if self.select == "random":
            return
        state: Mapping[str, Tensor] = model.state_dict()
        narrow = self._narrowed(model.config)
        if Sizes.changes(model.config, narrow):
            with torch.device("meta"):
                whole = type(model)(narrow)
            state = cut(model, state, whole.state_dict(), kept())
        state = keep_layers(state, stack_name(model), self._chosen(model.config))
        if student.config.model_type != model.config.model_type:
            state = translate(model, state, student)
        _load(student, state, new_head=student.config.model_type != model.config.model_type)

    def _config(self, teacher: PretrainedConfig) -> PretrainedConfig:
        config = with_layers(self._narrowed(teacher), self._chosen(teacher))
        return self._translated(config, teacher)

    def _chosen(self, teacher: PretrainedConfig) -> list[int]:
        return select_layers(teacher.num_hidden_layers, self.num_layers, self.select)

    def _narrowed(self, teacher: PretrainedConfig) -> PretrainedConfig:
        if self.hidden_size is None and self.intermediate_size is None:
            return teacher
        return narrowed(teacher, self.hidden_size, self.intermediate_size)

    def _sizes(self, teacher: PretrainedConfig) -> Sizes:
        return Sizes.of(self._narrowed(teacher))

    def _translated(self, config: PretrainedConfig, teacher: PretrainedConfig) -> PretrainedConfig:
        if self.architecture in (None, teacher.model_type):
            return config
        return translated(config, str(self.architecture))


def _load(student: PreTrainedModel, state: Mapping[str, Tensor], new_head: bool = False) -> None:
    """Load weights; a norm may be left out or keep its start where a layer has changed place.

    ModernBERT's first layer, for one, has no norm of its own before attention: the embeddings' norm
    stands there.
    """
    missing, unexpected = student.load_state_dict(state, strict=False)
    base = f"{student.base_model_prefix}."
    head = [n for n in missing if ".pooler." in n or not n.startswith(base)] if new_head else []
    odd = [name for name in (*missing, *unexpected) if name not in head]
    if any("norm." not in name.lower() for name in odd):
        raise ConfigError(
            f"student.select: the layers of {type(student).__name__} are not alike ({odd[0]});"
            " begin with layer 0, as student.select=uniform and first do"
        )
    if odd:
        log.info("student: %s does not fit its new place and is left out or new", ", ".join(odd))
