"""A student that starts from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.model_guards import check_fits
from distill_lab.new_models import new_model
from distill_lab.students.base import Student
from distill_lab.tasks import Data
from distill_lab.teachers import Source


class Scratch(Student):
    """A new model of the sizes given, with random weights.

    Args:
        sizes: Arguments of the architecture's transformers configuration, with `model_type`.
            Vocabulary and longest position are filled in.

    Raises:
        ConfigError: If the architecture is unknown or the sizes do not fit together.
    """

    def __init__(self, *, sizes: Mapping[str, Any]) -> None:
        if "model_type" not in sizes:
            raise ConfigError("student.sizes.model_type: no value is given; bert, for example")
        self.sizes = dict(sizes)

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Refuse sizes of which no model can be made; return the configuration.

        Raises:
            ConfigError: If the architecture is unknown or the sizes do not fit together.
        """
        with torch.device("meta"):
            config: PretrainedConfig = self._new(data).config
        check_fits(config, data, "student.sizes", str(self.sizes["model_type"]))
        return config

    def build(self, teacher: Source, data: Data) -> PreTrainedModel:
        """Return the student, drawn from torch's random state."""
        return self._new(data)

    def _new(self, data: Data) -> PreTrainedModel:
        return new_model(
            self.sizes, data.tokenizer, data.max_length, data.problem, "student.sizes", data.sizes
        )
