"""A search: trials are drawn, run as jobs, and told, until there are as many as asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from filelock import FileLock, Timeout
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from optuna.trial import Trial, TrialState

from distill_lab.errors import ConfigError, JobsFailed, UsageError
from distill_lab.results.result import PRUNED
from distill_lab.search import named
from distill_lab.search.jobs import Job, launch
from distill_lab.search.journal import mend, open_journal
from distill_lab.search.looks import Conditions, Looks
from distill_lab.search.report import Report
from distill_lab.search.settings import Settings
from distill_lab.search.space import Space
from distill_lab.search.study import FOLDERS, REASON, SCORES, SPREAD, TYPED, begin, counted, ranking

log = logging.getLogger(__name__)
JOURNAL = "optuna.log"
_LOCK = "search.lock"


@dataclass
class _Drawn:
    """A trial and its jobs, one for each seed."""

    trial: Trial
    jobs: list[Job]
    faults: list[str]


class Search:
    """One search.

    Args:
        settings: How.
        space: Where.
        launcher: Runs the jobs.
        loader: Composes them.
        config: Of the line, with `hydra`.

    Raises:
        UsageError: If the space or a setting cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        space: Space,
        launcher: Launcher,
        loader: ConfigLoader,
        config: DictConfig,
    ) -> None:
        settings.check(space)
        if config.launch.dry_run:
            raise ConfigError(
                "launch.dry_run=true: a search draws each trial from those before it, so nobody"
                " knows its jobs; leave hydra/sweeper=optuna out to see those of a grid"
            )
        self.settings = settings
        self.space = space
        self.launcher = launcher
        self.looks = Looks(loader, config)
        self.conditions = Conditions(space, self.looks)
        self.folder = Path(str(config.hydra.sweep.dir))
        self.journal = self.folder / JOURNAL
        self.report = Report(self.folder, settings.goals, len(settings.seeds), space, config)
        # Nothing is chosen by the baseline, which an axis such as the learning rate would have
        # trained anew for every trial.
        self.fixed = space.fixed if space.has("baseline") else [*space.fixed, "baseline=false"]
        self.prunes = settings.pruner is not None and len(settings.goals) == 1
        self.launched = 0
        self.refused = dict[Path, str]()

    def run(self) -> None:
        """Search, and print what was best.

        Raises:
            UsageError: If another search is at work in the folder, or was begun there.
            JobsFailed: If too many trials in a row failed, or none finished.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / _LOCK, timeout=0):
                self._run()
        except Timeout:
            raise UsageError(
                f"{self.folder}: another search is at work here; wait for it, or type another"
                " study=NAME"
            ) from None

    def _run(self) -> None:
        mend(self.journal)
        goals, pruner = self.settings.goals, self.settings.pruner if self.prunes else None
        directions = [goal.direction for goal in goals]
        storage = open_journal(self.journal)
        self.study = begin(storage, self._line(), directions, pruner, str(self.folder))
        failures: list[str] = []
        while (done := len(counted(self.study))) < self.settings.n_trials:
            count = min(self.settings.n_jobs, self.settings.n_trials - done)
            batch = [self._draw(done + i) for i in range(count)]
            self._run_jobs(batch)
            for place, drawn in enumerate(batch, done + 1):
                reason = self._tell(drawn, place)
                failures = [*failures, reason] if reason else []
            self.report.write(self.study)
            if len(failures) >= self.settings.max_failures:
                raise JobsFailed(
                    f"{len(failures)} trials in a row failed, the last one by: {failures[-1]}"
                )
        self.report.write(self.study)
        self.report.show(self.study)
        if not ranking(self.study):
            raise JobsFailed(f"{self.folder}: none of {done} trials finished")

    def _line(self) -> dict[str, str]:
        """Return what may not change while the search goes on, by key."""
        line = {fixed.lstrip("+~").partition("=")[0]: fixed for fixed in self.fixed}
        line.pop("study", None)
        line |= {axis.name: axis.kind() for axis in self.space.axes}
        goals = {goal.path: goal.direction for goal in self.settings.goals}
        keys = {"goals": goals, "seeds": self.settings.seeds}
        return line | {key: f"hydra.sweeper.{key}={value}" for key, value in keys.items()}

    def _draw(self, before: int) -> _Drawn:
        """Draw a trial.

        Args:
            before: How many were drawn.
        """
        self.study.sampler = named.sampler(self.settings.sampler, before)
        trial = self.study.ask()
        chosen, typed = dict[str, str](), list[str]()
        for axis in self.space.axes:
            if self.conditions.applies(axis, chosen):
                typed.append(axis.suggest(trial))
                if axis.is_group:
                    chosen[axis.name] = typed[-1].partition("=")[2]
        seeds = [[f"seed={seed}"] for seed in self.settings.seeds] or [[]]
        told = f"{trial.number}@{self.journal.resolve()}" if self.prunes else ""
        # By its first seed a trial is compared with others, which have the same one.
        jobs = [
            Job.of(self.folder, self.fixed, [*typed, *seed], "" if i else told)
            for i, seed in enumerate(seeds)
        ]
        if self.prunes and jobs[0].finished:  # before the search was interrupted
            for epoch, score in trial.user_attrs.get(SCORES, {}).items():
                trial.report(score, int(epoch))
        trial.set_user_attr(TYPED, typed)
        trial.set_user_attr(FOLDERS, [job.folder.name for job in jobs])
        log.info("trial %d/%d: %s", before + 1, self.settings.n_trials, " ".join(typed))
        return _Drawn(trial, jobs, self.looks.faults(jobs[0].overrides))

    def _run_jobs(self, batch: Sequence[_Drawn]) -> None:
        able = [drawn for drawn in batch if not drawn.faults]
        if not self.prunes:
            self._launch([job for drawn in able for job in drawn.jobs])
            return
        self._launch([drawn.jobs[0] for drawn in able])
        going = [drawn for drawn in able if drawn.jobs[0].finished]
        self._launch([job for drawn in going for job in drawn.jobs[1:]])

    def _launch(self, jobs: list[Job]) -> None:
        told = launch(self.launcher, jobs, self.launched)
        self.launched += len(told)
        self.refused |= {folder: reason for folder, reason in told.items() if reason}

    def _tell(self, drawn: _Drawn, place: int) -> str:
        """Tell the study how a trial ended; return why it failed, or an empty string.

        Args:
            drawn: The trial.
            place: Its place in the search, counted from 1.
        """
        trial = drawn.trial
        try:
            values = self._values(drawn)
        except UsageError as error:
            trial.set_user_attr(REASON, str(error))
            self.study.tell(trial.number, state=TrialState.FAIL)
            log.warning("trial %d failed: %s", place, error)
            return str(error)
        if values is None:
            self.study.tell(trial.number, state=TrialState.PRUNED)
            log.info("trial %d: pruned", place)
            return ""
        trial.set_user_attr(SPREAD, [stdev(v) if len(v) > 1 else None for v in values])
        self.study.tell(trial.number, [mean(v) for v in values])
        told = zip(self.settings.goals, values, strict=True)
        log.info("trial %d: %s", place, ", ".join(f"{g.name} {g.shown(mean(v))}" for g, v in told))
        return ""

    def _values(self, drawn: _Drawn) -> list[list[float]] | None:
        """Return each goal's values, one for each seed; None if the trial was pruned.

        Raises:
            UsageError: If a job failed or a number is not there.
        """
        if drawn.faults:
            raise UsageError("; ".join(drawn.faults))
        results = []
        for job in drawn.jobs:
            if job.folder in self.refused:
                raise UsageError(self.refused[job.folder])
            results.append(job.result())
            if results[-1]["status"] == PRUNED:
                return None
        return [[goal.read(result) for result in results] for goal in self.settings.goals]
