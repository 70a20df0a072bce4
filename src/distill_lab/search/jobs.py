"""The jobs of a trial, one for each seed: their folders, and what they left there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from distill_lab.callbacks.pruning import TRIAL
from distill_lab.errors import DataError, JobsFailed, UsageError
from distill_lab.launch.jobs import SUBDIR, job_folder, last_error, quoted
from distill_lab.plain_json import read_json
from distill_lab.results.result import FILE, FINISHED


@dataclass(frozen=True)
class Job:
    """One run of a trial.

    Attributes:
        study: Folder of the search.
        overrides: What could be typed to repeat it.
        folder: Where it runs; the same for the same settings.
        trial: What it reports its scores to, `NUMBER@JOURNAL`; empty if it does not.
    """

    study: Path
    overrides: tuple[str, ...]
    folder: Path
    trial: str = ""

    @classmethod
    def of(cls, study: Path, fixed: Sequence[str], own: Sequence[str], trial: str = "") -> Job:
        """Give a job its folder, named by what is its own."""
        overrides = [*fixed, *own]
        return cls(study, tuple(overrides), job_folder(study, own, overrides), trial)

    @property
    def line(self) -> list[str]:
        """What the launcher gets: Hydra's own keys tell the folder, and the trial."""
        own = [f"{SUBDIR}={quoted(self.folder.relative_to(self.study))}"]
        if self.trial:
            own.append(f"+hydra.job.env_set.{TRIAL}={quoted(self.trial)}")
        return [*self.overrides, *own]

    def result(self) -> dict[str, Any]:
        """Return what its `result.json` holds; a pruned job has one too.

        Raises:
            DataError: If it failed, with the reason.
        """
        file = self.folder / FILE
        if not file.is_file():
            told = last_error(self.folder)
            raise DataError(told or "it left neither a result nor an error")
        try:
            content: dict[str, Any] = read_json(file.read_text(encoding="utf-8"))
            content["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: not a result of distill-lab; delete it") from error
        return content

    @property
    def finished(self) -> bool:
        """Whether it ended with an evaluation."""
        try:
            return bool(self.result()["status"] == FINISHED)
        except DataError:
            return False


def launch(launcher: Launcher, jobs: Iterable[Job], first: int) -> dict[Path, str]:
    """Run jobs, each folder once; one that fails leaves no result.

    Args:
        launcher: Skips what is finished.
        jobs: Of several trials.
        first: Jobs that were launched before.

    Returns:
        For each folder, why the launcher refused its job; empty where it did not.
    """
    once = {job.folder: job for job in jobs}
    if not once:
        return {}
    try:
        with suppress(JobsFailed):  # each one that failed has left no result
            launcher.launch([job.line for job in once.values()], initial_job_idx=first)
    except UsageError as error:
        if len(once) == 1:
            return dict.fromkeys(once, str(error).replace("\n", "; "))
        # One of them cannot run as it is, and the others are not to suffer for it.
        alone = [launch(launcher, [job], first + i) for i, job in enumerate(once.values())]
        return {folder: reason for each in alone for folder, reason in each.items()}
    return dict.fromkeys(once, "")
