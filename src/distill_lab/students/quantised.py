"""A student that is trained for int8: quantisation-aware distillation."""

from __future__ import annotations

import re

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, UsageError
from distill_lab.students.base import Student
from distill_lab.students.int8 import MARK, to_int8, told
from distill_lab.tasks import Data
from distill_lab.teachers import Source


class Quantised(Student):
    """Another student, whose linear layers compute in training as int8 will when it is served.

    It starts with that student's weights and learns from the teacher, which stays as it is; its
    scores, on the selection and the evaluation split, are those of the int8 network, and so are
    those of its baseline. What is saved are its float weights, for the exporter to round.

    Args:
        of: The student itself.

    Raises:
        ConfigError: If it is trained for int8 already.
    """

    def __init__(self, *, of: Student) -> None:
        if isinstance(of, Quantised):
            raise ConfigError("student.of: is trained for int8 already; name a student that is not")
        self.of = of

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Return the tokeniser of the student itself, see `Student.tokenizer`."""
        try:
            return self.of.tokenizer()
        except UsageError as error:
            raise _of(error) from error

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Look at the student itself; return its configuration, which tells of int8.

        Raises:
            UsageError: If the student itself does not fit the teacher or the data.
        """
        try:
            config = self.of.check(teacher, data)
        except UsageError as error:
            raise _of(error) from error
        setattr(config, MARK, told([]))
        return config

    def build(self, teacher: Source, data: Data) -> PreTrainedModel:
        """Return the student itself, with its weights, computing as in int8.

        Raises:
            UsageError: If it cannot be built, or has no linear layers.
        """
        try:
            model = self.of.build(teacher, data)
        except UsageError as error:
            raise _of(error) from error
        return to_int8(model)


def _of(error: UsageError) -> UsageError:
    """Let an error name the key where the student itself stands."""
    faults = error.faults if isinstance(error, ConfigError) else [str(error)]
    named = [re.sub(r"\bstudent\.(?=\w+[=: ])", "student.of.", fault) for fault in faults]
    return type(error)("\n".join(named))
