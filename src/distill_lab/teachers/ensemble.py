"""Several teachers that answer as one."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError
from distill_lab.evaluation import score
from distill_lab.lab import Lab
from distill_lab.model_guards import check_same_tokenizer
from distill_lab.scores import Scores, Trained
from distill_lab.store import digest
from distill_lab.tasks import Data, Task
from distill_lab.tasks.rows import Splits
from distill_lab.teachers.average import Average, average_logits
from distill_lab.teachers.base import Teacher, Training
from distill_lab.teachers.caching import Caching, When
from distill_lab.teachers.finetuned import FineTuned
from distill_lab.teachers.live import Live
from distill_lab.types import Batch, Needs, Outputs, Wanted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Averaged:
    """An ensemble that is ready: its members are run for every batch.

    Attributes:
        members: The teachers; students are made of the first one's network.
        weights: One for each, summing to 1.
        average: How they are averaged, see `average_logits`.
        scores: Metrics and answers of the ensemble on the evaluation sets.
    """

    members: Sequence[Live]
    weights: Sequence[float]
    average: Average
    scores: Scores

    @property
    def model(self) -> PreTrainedModel:
        """The first member's network."""
        return self.members[0].model

    @property
    def loaded(self) -> bool:
        """Whether all networks are in memory."""
        return all(member.loaded for member in self.members)

    def release(self) -> None:
        """Forget the networks until they are asked for again."""
        for member in self.members:
            member.release()

    def trained(self) -> Trained:
        """Return the ensemble as a model of the comparison; what it took is that of all members."""
        each = [member.trained() for member in self.members]
        own = _fingerprint([member.fingerprint for member in each], self.weights, self.average)
        return Trained(self.scores, _summed([member.cost for member in each]), own)

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Return the averaged logits."""
        logits = [member.signals(batch, Wanted()).logits for member in self.members]
        return Outputs(average_logits(logits, self.weights, self.average))


def _fingerprint(members: Sequence[str], weights: Sequence[float], average: Average) -> str:
    return digest([list(members), list(weights), average])


def _summed(costs: Sequence[Mapping[str, float | int | None]]) -> dict[str, float | int | None]:
    given = [name for name in ("parameters", "seconds") if all(name in cost for cost in costs)]
    return {name: sum(cost[name] or 0 for cost in costs) for name in given}


def _whose(model: str | None) -> str:
    """Return the same for every spelling of a folder."""
    return "" if model is None else str(Path(model).resolve()) if Path(model).exists() else model


class Ensemble(Teacher):
    """Several teachers, each fine-tuned or found as one alone, whose answers are averaged.

    Gives logits only: hidden states and attention of several networks have no mean.

    Args:
        each: What all members share; its `model` is replaced, and a model that is named again gets
            the next `seed`.
        models: Folder or hub name of each member; null trains `each.scratch`.
        weights: One for each member; None weighs them alike.
        average: "probabilities" or "logits", see `average_logits`.
        cache: Whether the average for the training rows is kept, see `Caching`.
        cache_max_gb: Disk that this may take, in GB.
        cache_top_k, cache_temperatures: What of the average the student gets to know, see there.

    Raises:
        ConfigError: If there is no member, or the weights do not belong to the members.
    """

    def __init__(
        self,
        *,
        each: FineTuned,
        models: Sequence[str | None],
        weights: Sequence[float] | None = None,
        average: Average = "probabilities",
        cache: When = "auto",
        cache_max_gb: float = 10.0,
        cache_top_k: int | None = None,
        cache_temperatures: Sequence[float] | None = None,
    ) -> None:
        if not models:
            raise ConfigError("teacher.models=[]: an ensemble needs at least one model")
        weights = [1.0] * len(models) if weights is None else list(weights)
        usable = all(math.isfinite(weight) and weight >= 0 for weight in weights)
        if len(weights) != len(models) or not usable or sum(weights) == 0:
            raise ConfigError(
                f"teacher.weights={weights}: one for each of the {len(models)} models, 0 or more,"
                " not all 0"
            )
        self.weights = [weight / sum(weights) for weight in weights]
        self.average: Average = average
        self.caching = Caching(cache, cache_max_gb, "bfloat16", cache_top_k, cache_temperatures)
        if None in models and not each.scratch:
            raise ConfigError("teacher.models: null trains teacher.each.scratch, which is empty")
        seen: Counter[str] = Counter()
        self.members: list[FineTuned] = []
        for model in models:
            self.members.append(each.as_member(model, each.seed + seen[_whose(model)]))
            seen[_whose(model)] += 1

    @property
    def name(self) -> str:
        """The members' names, those of a kind counted, by their folders where names are alike."""
        kinds = {_whose(member.model): member for member in self.members}
        alike = Counter(member.name for member in kinds.values())
        counted = Counter(_whose(member.model) for member in self.members)
        return " + ".join(
            ("" if count == 1 else f"{count} x ")
            + (str(kinds[kind].model) if alike[kinds[kind].name] > 1 else kinds[kind].name)
            for kind, count in counted.items()
        )

    def tokenizer(self, splits: Splits, task: Task) -> PreTrainedTokenizerBase:
        """Return the first named member's tokeniser, or one for new models; all have the same.

        Raises:
            ModelError: If one cannot be loaded, or differs.
        """
        named = {_whose(m.model): m for m in self.members if m.model is not None}
        first = next(iter(named.values()), self.members[0])
        own = first.tokenizer(splits, task)
        for other in named.values():
            if other is not first:
                check_same_tokenizer(
                    own, other.tokenizer(splits, task), f"teacher.models: {other.model}",
                    "take members with one vocabulary", splits.train.sample(),
                )  # fmt: skip
        return own

    def check(self, task: Task, data: Data) -> PretrainedConfig:
        """Look at every member; return the configuration of the first.

        Raises:
            UsageError: If a member does not fit, or is the same model as another.
        """
        if not task.problem.has_labels:
            raise ConfigError(
                f"teacher=ensemble: the answers of several teachers are not averaged for"
                f" {task.name}, whose answers are tokens; take teacher=finetuned"
            )
        configs = [member.check(task, data) for member in self.members]
        for member in self.members:
            if member.seed > self.members[0].seed and member.is_finetuned(task):
                raise ConfigError(
                    f"teacher.models: {member.model} is there twice and already fine-tuned, so its"
                    " answers are the same; name it once, with a weight"
                )
        return configs[0]

    def check_needs(self, needs: Needs) -> None:
        """Refuse an objective that looks inside.

        Raises:
            ConfigError: If it asks for more than logits.
        """
        if needs.teacher != Wanted():
            raise ConfigError(
                "teacher=ensemble: the objective asks for hidden states or attention, of which"
                " several teachers have no mean; use an objective on logits, such as hinton"
            )

    def together(self) -> Sequence[Teacher]:
        """Return the members."""
        return self.members

    def trainings(self, task: Task, data: Data, lab: Lab) -> list[Training]:
        """Return the fine-tunings of all members."""
        return [each for member in self.members for each in member.trainings(task, data, lab)]

    def fingerprint(self, task: Task, data: Data, lab: Lab) -> str | None:
        """Return that of the ensemble; None where a member has yet to be trained."""
        prints = [member.fingerprint(task, data, lab) for member in self.members]
        known = [each for each in prints if each]
        return _fingerprint(known, self.weights, self.average) if known == prints else None

    def prepare(self, task: Task, data: Data, lab: Lab) -> Averaged:
        """Return the ensemble, each member fine-tuned and scored as one alone.

        Raises:
            ModelError: If a member's weights cannot be loaded, or it is near chance.
        """
        members = [member.prepare(task, data, lab) for member in self.members]
        logits = {
            part: average_logits(
                [member.scores.answers[part] for member in members], self.weights, self.average
            )
            for part in members[0].scores.answers
        }
        scores = score(task, data, logits)
        main = scores.metrics[task.metrics[0]]
        log.info("teacher: %d together %.4f on the evaluation split", len(members), main)
        return Averaged(members, self.weights, self.average, scores)
