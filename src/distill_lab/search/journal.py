"""The study on disk: a journal that search and jobs write to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from distill_lab.errors import DataError
from distill_lab.plain_json import read_json
from distill_lab.search.named import pruner

log = logging.getLogger(__name__)
STUDY = "search"
PRUNER = "pruner"
"""Attribute of the study that tells jobs by what to prune."""


def open_journal(path: Path) -> JournalStorage:
    """Open a journal, or begin one.

    Raises:
        DataError: If a line of it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        _check(path)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{path}: not a journal of Optuna ({error!r})") from error


def mend(path: Path) -> None:
    """Drop a last line that was cut off, so that what is appended does not run into it."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        log.warning("%s: its last line was cut off and is dropped", path)
        with path.open("r+b") as file:
            file.truncate(len(whole))


def _check(path: Path) -> None:
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            continue  # another process is writing it
        try:
            entry = read_json(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "op_code" not in entry:
            raise DataError(
                f"{path}, line {number}: damaged; take the line out, or begin anew with another"
                " study=NAME (finished jobs stay where they are)"
            )


def report(told: str, epoch: int, score: float) -> bool:
    """Tell the study a trial's score, from the job that trains it.

    Args:
        told: `NUMBER@JOURNAL`.
        epoch: Counted from 1.
        score: Main metric on the selection split.

    Returns:
        Whether the trial is hopeless; never one that the search has given up.

    Raises:
        DataError: If the journal cannot be read.
    """
    number, _, path = told.partition("@")
    storage = open_journal(Path(path))
    study_id = storage.get_study_id_from_name(STUDY)
    by: Mapping[str, Any] | None = storage.get_study_user_attrs(study_id).get(PRUNER)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, int(number))
    try:
        storage.set_trial_intermediate_value(trial_id, epoch, score)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False  # the search was killed and typed again: another trial waits for this job
    # The sampler is named so that none is made by default; it draws nothing here.
    study = optuna.load_study(
        study_name=STUDY, storage=storage, sampler=optuna.samplers.RandomSampler()
    )
    return pruner(by).prune(study, storage.get_trial(trial_id))
