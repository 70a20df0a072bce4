"""The study of a search: begun, or gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from distill_lab.errors import UsageError
from distill_lab.search.goals import Direction
from distill_lab.search.journal import PRUNER, STUDY

_LINE = "line"
_INTERRUPTED = "interrupted"
TYPED, FOLDERS, REASON, SPREAD = "typed", "folders", "reason", "spread"
"""Attributes of a trial: overrides, folders of its jobs, why it failed, sd over seeds by goal."""
SCORES = "scores"
"""Attribute of a trial that is repeated: what its first job had reported, by epoch."""


def begin(
    storage: JournalStorage,
    line: Mapping[str, str],
    directions: Sequence[Direction],
    pruner: Mapping[str, Any] | None,
    where: str,
) -> optuna.Study:
    """Create the study, or go on with it: what ran when it was interrupted is queued again.

    Args:
        storage: Holds the study.
        line: What makes the trials comparable, by key.
        directions: Of the goals.
        pruner: Told to the jobs.
        where: Folder of the search, for the error.

    Raises:
        UsageError: If the study was begun by another line and has results.
    """
    names = optuna.get_all_study_names(storage)
    if STUDY in names:
        before = optuna.load_study(study_name=STUDY, storage=storage).user_attrs.get(_LINE)
        if before != dict(line):
            _give_up(storage, before or {}, line, where)
    study = optuna.create_study(
        study_name=STUDY, storage=storage, directions=list(directions), load_if_exists=True
    )
    study.set_user_attr(_LINE, dict(line))
    study.set_user_attr(PRUNER, None if pruner is None else dict(pruner))
    _go_on(study, storage)
    return study


def _give_up(
    storage: JournalStorage, before: Mapping[str, str], line: Mapping[str, str], where: str
) -> None:
    """Delete a study of another line that has no result yet; refuse to mix others.

    Raises:
        UsageError: If it has results.
    """
    study = optuna.load_study(study_name=STUDY, storage=storage)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        optuna.delete_study(study_name=STUDY, storage=storage)
        return
    differ = [key for key in {**before, **line} if before.get(key) != line.get(key)]
    was = " ".join(before[key] for key in differ if key in before) or "nothing"
    now = " ".join(line[key] for key in differ if key in line) or "nothing"
    raise UsageError(
        f"{where}: its search was begun with {was} where this line has {now}, so that the trials"
        " cannot be compared; type another study=NAME"
    )


def _go_on(study: optuna.Study, storage: JournalStorage) -> None:
    study_id = storage.get_study_id_from_name(STUDY)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        storage.set_trial_user_attr(trial_id, _INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        scores = {str(epoch): score for epoch, score in trial.intermediate_values.items()}
        study.enqueue_trial(trial.params, user_attrs={SCORES: scores})


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have ended; an interrupted one does not count, its repetition does."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [trial for trial in trials if not trial.user_attrs.get(_INTERRUPTED)]


def ranking(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best trials: all by their value, or of several goals the Pareto front.

    Of trials with the same settings the first stands for all.
    """
    many = len(study.directions) > 1
    trials = study.best_trials if many else counted(study)
    sign = -1.0 if study.directions[0] is optuna.study.StudyDirection.MAXIMIZE else 1.0
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    ordered = sorted(finished, key=lambda trial: (sign * trial.values[0], trial.number))
    distinct: dict[tuple[str, ...], FrozenTrial] = {}
    for trial in ordered:
        distinct.setdefault(tuple(trial.user_attrs[TYPED]), trial)
    return list(distinct.values())
