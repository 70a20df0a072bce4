"""A sweep: its jobs are composed and looked at, run where they have not been, and told about."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from distill_lab.config import Config, plain
from distill_lab.errors import ConfigError, JobsFailed, UsageError
from distill_lab.launch.dry_run import cost_table, jobs_table
from distill_lab.launch.executor import Executor
from distill_lab.launch.folder_lock import BUSY
from distill_lab.launch.forecast import Foreseen, foresee
from distill_lab.launch.jobs import (
    ERROR_FILE,
    Job,
    given_folder,
    job_folder,
    own,
    varying,
    without_launching,
)
from distill_lab.launch.progress import Progress, failures
from distill_lab.results.show import console

log = logging.getLogger(__name__)


class Sweep:
    """One line with `-m`.

    Args:
        loader: Composes a job.
        config: Of the sweep, with `hydra`.
        executor: Runs the jobs.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig, executor: Executor) -> None:
        self.loader = loader
        self.config = config
        self.executor = executor

    def run(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run what is not finished; a job that fails does not stop the others.

        Raises:
            ConfigError: Before the first one, if any cannot run as it is.
            JobsFailed: At the end, if any failed.
        """
        jobs = self._jobs([without_launching(overrides) for overrides in job_overrides])
        todo = [job for job in jobs if not job.finished]
        dry = self.config.launch.dry_run
        foreseen = self._look_at(todo, pieces=dry)
        if dry:
            self._leave_no_trace()
            console().print(jobs_table(jobs, foreseen), cost_table(foreseen.values()))
            return []
        reasons = self._run(todo, len(jobs))
        failed = [(job, reasons[job.number]) for job in jobs if job.number in reasons]
        if failed:
            console().print(failures(failed))
            raise JobsFailed(
                f"{len(failed)} of {len(jobs)} jobs failed; each has its {ERROR_FILE} in"
                f" {failed[0][0].folder.parent}, and the same line tries them again"
            )
        return [_returned(job) for job in jobs]

    def _leave_no_trace(self) -> None:
        """Remove what Hydra has written of a sweep that was only told about."""
        folder = Path(str(self.config.hydra.sweep.dir))
        if {file.name for file in folder.glob("*")} == {"multirun.yaml"}:
            shutil.rmtree(folder)

    def _run(self, jobs: list[Job], of: int) -> dict[int, str]:
        """Run jobs; return why they failed, by number, of those that did."""
        if len(jobs) < of:
            log.info("%d of %d jobs are finished already", of - len(jobs), of)
        for job in jobs:
            (job.folder / ERROR_FILE).unlink(missing_ok=True)
        ended = dict[int, str | None]()
        try:
            with Progress(jobs, of, self.executor.at_once) as progress:
                for job, code in self.executor.run(jobs, progress.begun):
                    if code == 130:
                        raise KeyboardInterrupt
                    ended[job.number] = _reason(job, code) if code else None
                    progress.over(job, ended[job.number])
        except KeyboardInterrupt:
            done = of - len(jobs) + sum(reason is None for reason in ended.values())
            log.warning("%d of %d jobs are finished", done, of)
            raise
        return {number: reason for number, reason in ended.items() if reason is not None}

    def _jobs(self, job_overrides: list[list[str]]) -> list[Job]:
        """Compose all jobs."""
        folder = Path(str(self.config.hydra.sweep.dir))
        differ, flags = varying(job_overrides), self._flags()
        jobs = list[Job]()
        for number, overrides in enumerate(job_overrides, 1):
            config = self.loader.load_sweep_config(self.config, overrides)
            given, typed = given_folder(overrides, config), own(overrides)
            names = [o for o in typed if o in differ or len(job_overrides) == 1]
            names = [given.name] if given else names
            place = given or job_folder(folder, names or typed, typed)
            jobs.append(Job(number, tuple(overrides), tuple(names), place, flags, config))
        return jobs

    def _look_at(self, jobs: list[Job], pieces: bool) -> dict[int, Foreseen]:
        """Find out what can be known of jobs before any of them runs, by number.

        Raises:
            ConfigError: With the faults of all jobs.
        """
        faults, sound = dict[str, list[Job]](), list[tuple[Job, Config]]()
        for job in jobs:
            try:
                sound.append((job, _plain(job)))
            except UsageError as error:
                _note(faults, job, str(error).splitlines())
        HydraConfig.instance().set_config(self.config)
        answers = foresee([config for _, config in sound], pieces) if sound else []
        foreseen = {job.number: found for (job, _), found in zip(sound, answers, strict=True)}
        for job, _ in sound:
            _note(faults, job, foreseen[job.number].faults)
        if faults:
            raise ConfigError(_told(fault, having, jobs) for fault, having in faults.items())
        return foreseen

    def _flags(self) -> tuple[str, ...]:
        """Return the flags that name a user's own configuration folder."""
        sources: Any = self.config.hydra.runtime.config_sources
        return tuple(f"--config-dir={s.path}" for s in sources if s.provider == "command-line")


def _plain(job: Job) -> Config:
    """Return a job's configuration, resolved.

    Raises:
        ConfigError: If an interpolation fails or a mandatory value is missing.
    """
    HydraConfig.instance().set_config(job.config)  # for interpolations of `hydra:`
    return plain(job.config)


def _note(faults: dict[str, list[Job]], job: Job, found: Iterable[str]) -> None:
    for fault in found:
        faults.setdefault(fault, []).append(job)


def _told(fault: str, having: Sequence[Job], jobs: Sequence[Job]) -> str:
    """Return a fault with the jobs that have it."""
    if len(having) == len(jobs):
        return fault
    return f"{fault} (in {len(having)} of {len(jobs)} jobs, such as {having[0].title})"


def _returned(job: Job) -> JobReturn:
    returned = JobReturn(overrides=job.overrides, working_dir=str(job.folder), cfg=job.config)
    returned.status = JobStatus.COMPLETED
    returned._return_value = job.score()
    return returned


def _reason(job: Job, code: int) -> str:
    """Return why a job failed, which its folder keeps unless another process works there."""
    if code == BUSY:
        return "another process works in its folder"
    job.failed(_why(code))
    return job.reason()


def _why(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed; where the memory was full, a smaller hydra.launcher.n_jobs helps"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
