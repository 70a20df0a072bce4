"""A student that others have pre-trained."""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.model_guards import check_fits, check_same_tokenizer
from distill_lab.models import agree_on_padding, load_config, load_model, load_tokenizer
from distill_lab.students.base import Student
from distill_lab.tasks import Data
from distill_lab.teachers import Source


class Pretrained(Student):
    """A pre-trained encoder or classifier from a folder or the hub.

    Args:
        model: Folder or hub name.
        own_tokenizer: Whether the student reads the rows by its own tokeniser and the teacher by
            its own; without it the two must be the same. Only logits can be compared then.
    """

    def __init__(self, *, model: str, own_tokenizer: bool = False) -> None:
        self.model = model
        self.own_tokenizer = own_tokenizer

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Return the student's tokeniser, None where it reads with the teacher's.

        Raises:
            ModelError: If it cannot be loaded.
        """
        return load_tokenizer(self.model, "student.model") if self.own_tokenizer else None

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Look at the tokeniser before anything is trained; return the configuration.

        Raises:
            UsageError: If it cannot be loaded, cuts text otherwise than the teacher's, or does not
                fit the rows.
        """
        if data.tokenizer is not None:
            self._check_tokenizer(data, data.tokenizer)
        config = load_config(self.model, "student.model")
        check_fits(config, data, "student.model", self.model)
        return config

    def _check_tokenizer(self, data: Data, teacher: PreTrainedTokenizerBase) -> None:
        own = load_tokenizer(self.model, "student.model")
        check_same_tokenizer(
            teacher, own, f"student.model={self.model}",
            "take a student with the teacher's tokeniser, or let each read by its own with"
            " student.own_tokenizer=true", data.texts(),
        )  # fmt: skip

    def build(self, teacher: Source, data: Data) -> PreTrainedModel:
        """Return the student in float32; a head that it lacks is drawn.

        Raises:
            ModelError: If its weights cannot be loaded.
        """
        model = load_model(self.model, data.problem, "student.model")
        agree_on_padding(model, data.tokenizer)
        return model
