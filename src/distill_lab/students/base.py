"""What a student is, before it is a network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.tasks import Data
from distill_lab.teachers import Source


class Student(ABC):
    """A recipe for a network, built once the teacher is ready."""

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Return the student's own tokeniser where it reads the rows its own way, else None.

        Raises:
            ModelError: If it cannot be loaded.
        """
        return None

    @abstractmethod
    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Look at what can be known before the teacher is trained.

        Args:
            teacher: Configuration of the teacher's network.
            data: The rows as the student reads them.

        Returns:
            The configuration that the student will have.

        Raises:
            UsageError: If the student does not fit the teacher or the data.
        """

    @abstractmethod
    def build(self, teacher: Source, data: Data) -> PreTrainedModel:
        """Return the network with a head for the rows' problem; what is random comes from torch."""
