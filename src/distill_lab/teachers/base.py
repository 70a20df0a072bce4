"""What a teacher is: first a recipe, then a source of signals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.lab import Lab
from distill_lab.scores import Trained
from distill_lab.tasks import Data, Task
from distill_lab.tasks.rows import Splits
from distill_lab.teachers.caching import Caching
from distill_lab.types import Needs, TeacherSource


class Source(TeacherSource, Protocol):
    """A teacher that is ready: it gives signals, and a student may take layers of its network."""

    @property
    def model(self) -> PreTrainedModel:
        """The network that students are made of, loaded when it is asked for."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether its network is in memory."""
        ...

    def release(self) -> None:
        """Forget the network until it is asked for again."""
        ...

    def trained(self) -> Trained:
        """Return the teacher as a model of the comparison."""
        ...


@dataclass(frozen=True)
class Training:
    """A fine-tuning that a teacher needs.

    Attributes:
        path: Its entry in the store, which is there or is to be made.
        name: What is trained on what, for people.
        rows: How many rows it looks at, counted as often as it does.
        batch_size: Its rows a step.
    """

    path: Path
    name: str
    rows: int
    batch_size: int


class Teacher(ABC):
    """A recipe for a teacher, looked at before anything is trained.

    Attributes:
        caching: Whether its signals are kept.
    """

    caching: Caching

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call the teacher."""

    @abstractmethod
    def tokenizer(self, splits: Splits, task: Task) -> PreTrainedTokenizerBase:
        """Return its tokeniser, trained on the rows where it has none yet.

        Raises:
            ModelError: If it cannot be loaded.
        """

    @abstractmethod
    def check(self, task: Task, data: Data) -> PretrainedConfig:
        """Look at what can be known before anything is trained.

        Returns:
            The configuration of the network that students are made of.

        Raises:
            UsageError: If a model cannot be found, does not fit the data, or answers another set
                of labels.
        """

    def check_needs(self, needs: Needs) -> None:  # noqa: B027 - most give everything
        """Refuse an objective that asks for what the teacher cannot give.

        Raises:
            ConfigError: If it does.
        """

    def together(self) -> Sequence[Teacher]:
        """Return the teachers that run for a batch: itself, or the members of an ensemble."""
        return [self]

    @abstractmethod
    def trainings(self, task: Task, data: Data, lab: Lab) -> Sequence[Training]:
        """Return the fine-tunings that it is made of; none where it is taken as it is."""

    @abstractmethod
    def fingerprint(self, task: Task, data: Data, lab: Lab) -> str | None:
        """Return that of the teacher when it is ready; None where it has yet to be trained."""

    @abstractmethod
    def prepare(self, task: Task, data: Data, lab: Lab) -> Source:
        """Return the teacher, fine-tuned and scored, from the store where it is there.

        Raises:
            ModelError: If weights cannot be loaded, or it is near chance.
        """
