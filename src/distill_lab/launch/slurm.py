"""Jobs of a Slurm array, by submitit; the queue is asked how they are."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.launch.commands import given, library, run_command
from distill_lab.launch.executor import Begun
from distill_lab.launch.folder_lock import BUSY
from distill_lab.launch.jobs import Job
from distill_lab.launch.slurm_queue import Queue
from distill_lab.launch.submitted import InQueue, OnThisMachine

log = logging.getLogger(__name__)
_POLL = 1.0  # seconds


class ProcessFailed(Exception):
    """One of several processes of a job failed; Slurm ends the others for it."""


def run_task(arguments: Sequence[str], folder: str, output: str, since: float) -> int:
    """Be one of a Slurm job's processes; arguments and result as for `run_command`.

    Raises:
        ProcessFailed: If it is one of several, and its exit code is not 0.
    """
    if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        # By this name Lightning leaves Slurm alone, so that a job may start processes by itself.
        alone = {"SLURM_JOB_NAME": "bash"}
        return run_command(arguments, folder, output, since, environment=alone)
    rank = int(os.environ["SLURM_PROCID"])
    place = Path(output)
    own = place.with_name(f"{place.stem}.{rank}{place.suffix}") if rank else place
    code = run_command(arguments, folder, str(own), since, look=rank == 0)
    if code:
        raise ProcessFailed(f"exit code {code}")
    return code


class Slurm:
    """Jobs of a Slurm array, by submitit.

    What is in the queue from an earlier line, whose sweep was killed, is waited for.

    Args:
        cluster: "slurm", or "local" for processes of this machine.
        parameters: What submitit's executor takes, such as `slurm_partition`.
        at_once: How many of the array run at a time, at most.
    """

    def __init__(self, cluster: str, parameters: Mapping[str, Any], at_once: int) -> None:
        self.submitit = library("submitit", "slurm")
        self.cluster = cluster
        self.parameters = dict(parameters)
        self.tasks = int(self.parameters.get("tasks_per_node", 1))
        self.at_once = at_once
        self.queue = Queue()

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Submit all jobs and give each with its exit code when it ends.

        Raises:
            ConfigError: If Slurm is not here or refuses a parameter.
            KeyboardInterrupt: After the jobs that have not ended have been cancelled.
        """
        if not jobs:
            return
        self._check(jobs)
        executor = self._executor(jobs[0].folder.parent)
        waiting = self._earlier(jobs)
        left = [job for job in jobs if job.number not in waiting]
        told = set[int]()
        try:
            while waiting or left:
                room = max(self.at_once - len(waiting), 0) if self.cluster == "local" else len(left)
                waiting |= self._submit(executor, left[:room])
                del left[:room]
                for number, (job, submitted) in list(waiting.items()):
                    ended = submitted.ended()
                    if number not in told and (ended is not None or submitted.runs()):
                        told.add(number)
                        begun(job)
                    if ended is not None:
                        del waiting[number]
                        code, why = ended
                        if why is not None and code != BUSY:
                            job.failed(why)
                        yield job, code
                time.sleep(_POLL)
        finally:
            self._cancel([submitted for _, submitted in waiting.values()])

    def _check(self, jobs: Sequence[Job]) -> None:
        if self.tasks > 1 and self.cluster == "local":
            raise ConfigError(
                f"hydra.launcher.tasks_per_node={self.tasks}: with hydra.launcher.cluster=local a"
                " job starts its processes by itself; leave it at 1"
            )
        for job in jobs:
            devices = job.config.trainer.get("devices")
            if self.tasks > 1 and devices != self.tasks:
                raise ConfigError(
                    f"hydra.launcher.tasks_per_node={self.tasks}: needs"
                    f" trainer.devices={self.tasks}, not {devices}"
                )

    def _executor(self, folder: Path) -> Any:
        try:
            executor = self.submitit.AutoExecutor(folder / ".submitit", cluster=self.cluster)
            parameters = dict(self.parameters)
            if self.cluster == "slurm":
                parameters["slurm_array_parallelism"] = self.at_once
                if self.tasks > 1:
                    parameters["slurm_srun_args"] = ["--kill-on-bad-exit=1"]
            executor.update_parameters(**parameters)
        except (RuntimeError, ValueError, NameError, TypeError) as error:
            raise _refused(error) from error
        return executor

    def _submit(self, executor: Any, jobs: Sequence[Job]) -> dict[int, tuple[Job, Any]]:
        if not jobs:
            return {}
        try:
            with executor.batch():
                handles = [executor.submit(run_task, *given(job)) for job in jobs]
        except self.submitit.core.utils.FailedJobError as error:
            raise _refused(error) from error
        self.queue.soon()
        if self.cluster != "slurm":
            pairs = zip(jobs, handles, strict=True)
            return {job.number: (job, OnThisMachine(handle)) for job, handle in pairs}
        for job, handle in zip(jobs, handles, strict=True):
            record = {"job": handle.job_id, "tasks": self.tasks}
            _record(job).write_text(json.dumps(record), encoding="utf-8")
        return {
            job.number: (job, InQueue(handle, self.queue))
            for job, handle in zip(jobs, handles, strict=True)
        }

    def _earlier(self, jobs: Sequence[Job]) -> dict[int, tuple[Job, Any]]:
        """Return the jobs that an earlier line submitted and that have not ended."""
        found = dict[int, tuple[Job, Any]]()
        recorded = [job for job in jobs if self.cluster == "slurm" and _record(job).is_file()]
        for job in recorded:
            record = json.loads(_record(job).read_text(encoding="utf-8"))
            state = self.queue.state(record["job"])
            place = _record(job).parent.absolute()
            if state is None or state.ended or not Path(state.command).is_relative_to(place):
                continue
            kind = self.submitit.SlurmJob
            handle = kind(place, record["job"], tasks=list(range(record["tasks"])))
            found[job.number] = job, InQueue(handle, self.queue)
        if found:
            log.info("%d jobs of an earlier line are in the queue; they are waited for", len(found))
        return found

    def _cancel(self, submitted: Sequence[Any]) -> None:
        if submitted and self.cluster == "slurm":
            self.queue.cancel([each.handle.job_id for each in submitted])
        elif submitted:
            for each in submitted:
                each.handle.cancel()


def _record(job: Job) -> Path:
    """Return the file that keeps what a job is called in Slurm."""
    return job.folder.parent / ".submitit" / f"{job.folder.name}.json"


def _refused(error: Exception) -> ConfigError:
    if "Could not detect" in str(error):
        return ConfigError(
            "hydra/launcher=slurm: there is no Slurm on this machine; type the line on the"
            " cluster's login node, or take hydra.launcher.cluster=local"
        )
    said = str(error).strip().splitlines()
    told = next((line for line in said if "sbatch: error" in line), said[0])
    return ConfigError(f"hydra/launcher=slurm: submitit says: {told}")
