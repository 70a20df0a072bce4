"""What a student is, before it is a network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from transformers import PretrainedConfig, PreTrainedModel

from distill_lab.tasks import Data
from distill_lab.teachers import Live
from distill_lab.types import Problem


class Student(ABC):
    """A recipe for a network, built once the teacher is ready."""

    @abstractmethod
    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Look at what can be known before the teacher is trained.

        Returns:
            The configuration that the student will have.

        Raises:
            UsageError: If the student does not fit the teacher or the data.
        """

    @abstractmethod
    def build(self, teacher: Live, data: Data, problem: Problem) -> PreTrainedModel:
        """Return the network with a head for the problem; what is random comes from torch."""
