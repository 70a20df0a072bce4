"""A sweep: its jobs are composed and looked at, run where they have not been, and told about."""

from __future__ import annotations

import logging
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from distill_lab.config import Config, conf_dir, plain
from distill_lab.errors import JobsFailed, UsageError
from distill_lab.launch.dry_run import cost_table, jobs_table
from distill_lab.launch.executor import Executor
from distill_lab.launch.fitting import Faults, globbed
from distill_lab.launch.folder_lock import BUSY
from distill_lab.launch.forecast import Foreseen, foresee
from distill_lab.launch.jobs import (
    ERROR_FILE,
    RESULT_FILE,
    Job,
    Places,
    given_folder,
    own,
    varying,
    without_launching,
)
from distill_lab.launch.progress import Progress, failures
from distill_lab.launch.traces import SWEEP_FILE
from distill_lab.results.show import console
from distill_lab.secret_values import refuse_kept

log = logging.getLogger(__name__)
# Of Hydra's keys those that say where and how the jobs of a line run, not what one of them is.
_GRID = "BasicSweeper"
_OF_THE_SWEEP = re.compile(r"[+~]*hydra[./](launcher|sweeper|sweep|run|mode)\b")


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
        lines = [tuple(without_launching(overrides)) for overrides in job_overrides]
        jobs = self._jobs(list(dict.fromkeys(lines)))  # one that is there twice runs once
        self._refuse_secrets(jobs)
        todo = [job for job in jobs if not _done(job)]
        dry = self.config.launch.dry_run
        foreseen, unfit = self._look_at(todo, jobs, pieces=dry)
        number = {n: k for k, n in enumerate((j.number for j in jobs if j.number not in unfit), 1)}
        foreseen = {number[n]: found for n, found in foreseen.items() if n in number}
        jobs, todo = (
            [replace(j, number=number[j.number]) for j in some if j.number in number]
            for some in (jobs, todo)
        )
        if dry:
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
        if jobs and _GRID in str(self.config.hydra.sweeper._target_):  # a search has more to come
            log.info("sweep: finished; next: distill-lab compare %s", jobs[0].folder.parent)
        by_line = {job.overrides: job for job in jobs}
        return [_returned(by_line[line]) for line in lines if line in by_line]

    def _refuse_secrets(self, jobs: Sequence[Job]) -> None:
        """Refuse secrets that an overlay holds, and delete Hydra's copy of them."""
        own = [[str(name) for name in job.config if name != "hydra"] for job in jobs]
        contents: Any = [
            OmegaConf.to_container(OmegaConf.masked_copy(job.config, names))
            for job, names in zip(jobs, own, strict=True)
        ]
        refuse_kept(contents, Path(str(self.config.hydra.sweep.dir), SWEEP_FILE))

    def _run(self, jobs: list[Job], of: int) -> dict[int, str]:
        """Run jobs; return why they failed, by number, of those that did."""
        if len(jobs) < of:
            log.info("%d of %d jobs are finished already", of - len(jobs), of)
        if not jobs:
            return {}
        for job in jobs:
            (job.folder / ERROR_FILE).unlink(missing_ok=True)
        ended = dict[int, str | None]()
        try:
            with Progress(jobs, of, min(self.executor.at_once, len(jobs))) as progress:
                for job, code in self.executor.run(jobs, progress.begun):
                    if code == 130:
                        raise KeyboardInterrupt
                    ended[job.number] = _reason(job, code)
                    progress.over(job, ended[job.number])
        except KeyboardInterrupt:
            done = of - len(jobs) + sum(reason is None for reason in ended.values())
            log.warning("%d of %d jobs are finished", done, of)
            raise
        return {number: reason for number, reason in ended.items() if reason is not None}

    def _jobs(self, job_overrides: list[tuple[str, ...]]) -> list[Job]:
        """Compose all jobs."""
        places = Places(Path(str(self.config.hydra.sweep.dir)))
        differ, flags, since = varying(job_overrides), self._flags(), time.time()
        jobs = list[Job]()
        for number, overrides in enumerate(job_overrides, 1):
            config = self.loader.load_sweep_config(self.config, list(overrides))
            given, typed = given_folder(overrides, config), own(overrides)
            names = [o for o in typed if o in differ or len(job_overrides) == 1]
            names = [given.name] if given else names
            place = given or places.of(names or typed, typed)
            jobs.append(Job(number, overrides, tuple(names), place, flags, config, since))
        return jobs

    def _look_at(
        self, todo: list[Job], jobs: list[Job], pieces: bool
    ) -> tuple[dict[int, Foreseen], set[int]]:
        """Find out what can be known of jobs before any of them runs.

        Args:
            todo: Those that are not finished.
            jobs: All.
            pieces: Whether also what has to be computed.

        Returns:
            What is foreseen, by number, and which jobs are left out: those with a choice that a
            pattern has found and that fits nothing else of the line.

        Raises:
            ConfigError: With the faults of all other jobs.
        """
        faults, sound = Faults(), list[tuple[Job, Config]]()
        for job in todo:
            try:
                sound.append((job, _plain(job)))
            except UsageError as error:
                faults.note(job, str(error).splitlines())
        HydraConfig.instance().set_config(self.config)
        answers = foresee([config for _, config in sound], pieces) if sound else []
        foreseen = {job.number: found for (job, _), found in zip(sound, answers, strict=True)}
        for job, _ in sound:
            faults.note(job, foreseen[job.number].faults)
        unfit = faults.of_globs(globbed(self.config.hydra), jobs)
        faults.refuse(todo, unfit)
        for fault, having in unfit.items():
            titles = ", ".join(dict.fromkeys(job.title for job in having[:3]))
            log.warning("left out: %s%s: %s", titles, ", ..." * (len(having) > 3), fault)
        return foreseen, {job.number for having in unfit.values() for job in having}

    def _flags(self) -> tuple[str, ...]:
        """Return what a job needs to compose as the sweep did: flags, and Hydra's own keys."""
        hydra: Any = self.config.hydra
        sources = hydra.runtime.config_sources
        flags = [f"--config-dir={s.path}" for s in sources if s.provider == "command-line"]
        main = next(Path(s.path) for s in sources if s.provider == "main")
        if main != conf_dir():
            flags.append(f"--config-path={main}")
        if hydra.job.config_name != "train":
            flags.append(f"--config-name={hydra.job.config_name}")
        return (*flags, *(o for o in hydra.overrides.hydra if not _OF_THE_SWEEP.match(o)))


def _done(job: Job) -> bool:
    """Whether a job has been run as it would be now."""
    if not job.finished:
        return False
    try:
        changed = job.changed(_plain(job))
    except UsageError:  # told with the faults of all jobs
        return False
    if changed:
        told = f"{', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}"
        log.info("job %d has other values of %s than its result: run again", job.number, told)
    return not changed


def _plain(job: Job) -> Config:
    """Return a job's configuration, resolved.

    Raises:
        ConfigError: If an interpolation fails or a mandatory value is missing.
    """
    HydraConfig.instance().set_config(job.config)  # for interpolations of `hydra:`
    return plain(job.config)


def _returned(job: Job) -> JobReturn:
    returned = JobReturn(overrides=job.overrides, working_dir=str(job.folder), cfg=job.config)
    returned.status = JobStatus.COMPLETED
    returned._return_value = job.score()
    return returned


def _reason(job: Job, code: int) -> str | None:
    """Return why a job failed, which its folder keeps unless another process works there."""
    if code == BUSY:
        return "another process works in its folder"
    if code == 0 and job.left_result():
        return None
    job.failed(_why(job, code))
    return job.reason()


def _why(job: Job, code: int) -> str:
    if code == 0:
        return f"it ended without a {RESULT_FILE}"
    told = job.last_words()
    if told:
        return told
    if code == -signal.SIGKILL:
        return "killed; where the memory was full, a smaller hydra.launcher.n_jobs helps"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
