"""Jobs on a cluster: by Slurm (submitit), Ray, or a backend of joblib.

Each job is a command on some machine that sees the same folders: the working folder, the store and
the data. What it would write to a terminal goes to `console.log` of its folder.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.launch.executor import Begun
from distill_lab.launch.jobs import CONSOLE_FILE, Job

_POLL = 1.0  # seconds
_NO_RESULT = 1


def run_command(arguments: Sequence[str], folder: str, output: str) -> int:
    """Run a job as a command, on whatever machine this is.

    Args:
        arguments: What follows `distill-lab train`.
        folder: The working folder.
        output: File that takes what would go to the terminal.

    Returns:
        The exit code; negative where a signal ended it.
    """
    place = Path(folder, output)
    place.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "distill_lab", "train", *arguments]
    with place.open("w", encoding="utf-8") as file:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        ).returncode


def _given(job: Job) -> tuple[list[str], str, str]:
    return job.arguments, os.getcwd(), str(job.folder / CONSOLE_FILE)


def _library(name: str, launcher: str) -> Any:
    """Import what a launcher needs.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"hydra/launcher={launcher}: {name} is not installed;"
            f" pip install 'distill-lab[{launcher}]'"
        ) from error


class Slurm:
    """Jobs of a Slurm array, by submitit.

    Args:
        cluster: "slurm", or "local" for processes of this machine.
        parameters: What submitit's executor takes, such as `slurm_partition`.
        at_once: How many of the array run at a time, at most.
    """

    def __init__(self, cluster: str, parameters: Mapping[str, Any], at_once: int) -> None:
        self.submitit = _library("submitit", "slurm")
        self.cluster = cluster
        self.parameters = dict(parameters)
        self.at_once = at_once

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Submit all jobs and give each with its exit code when it ends.

        Raises:
            ConfigError: If Slurm is not here or refuses a parameter.
            KeyboardInterrupt: After the jobs that have not ended have been cancelled.
        """
        if not jobs:
            return
        open_jobs = self._submit(jobs)
        told = set[int]()
        try:
            while open_jobs:
                for number, (job, submitted) in list(open_jobs.items()):
                    over = submitted.done()
                    if number not in told and (over or submitted.state == "RUNNING"):
                        told.add(number)
                        begun(job)
                    if over:
                        del open_jobs[number]
                        yield job, _code(submitted)
                time.sleep(_POLL)
        finally:
            for _, submitted in open_jobs.values():
                submitted.cancel()

    def _submit(self, jobs: Sequence[Job]) -> dict[int, tuple[Job, Any]]:
        folder = jobs[0].folder.parent / ".submitit"
        try:
            executor = self.submitit.AutoExecutor(folder, cluster=self.cluster)
            if self.cluster == "slurm":
                executor.update_parameters(slurm_array_parallelism=self.at_once)
            executor.update_parameters(**self.parameters)
        except (RuntimeError, ValueError, NameError, TypeError) as error:
            said = str(error).strip().splitlines()[0]
            raise ConfigError(f"hydra/launcher=slurm: submitit says: {said}") from error
        with executor.batch():
            submitted = [executor.submit(run_command, *_given(job)) for job in jobs]
        return {job.number: (job, each) for job, each in zip(jobs, submitted, strict=True)}


def _code(submitted: Any) -> int:
    error = submitted.exception()
    return _NO_RESULT if error is not None else int(submitted.result())


class Ray:
    """Tasks of a Ray cluster.

    Args:
        address: Of the cluster; None starts one on this machine, "auto" finds one.
        num_cpus: Processors that a job takes.
        num_gpus: GPUs that a job takes.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.ray = _library("ray", "ray")
        self.address = address
        self.takes = {"CPU": num_cpus, "GPU": num_gpus}

    @property
    def at_once(self) -> int:
        """How many jobs the cluster has room for now."""
        self._connect()
        room = self.ray.cluster_resources()
        return max(1, min(int(room.get(k, 0) // n) for k, n in self.takes.items() if n > 0))

    def _connect(self) -> None:
        try:
            self.ray.init(
                address=self.address, ignore_reinit_error=True, log_to_driver=False,
                include_dashboard=False if self.address is None else None,
                logging_level="warning",
            )  # fmt: skip
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f"hydra.launcher.address={self.address}: no Ray cluster is found there"
            ) from error

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Run jobs, as many at a time as there is room for.

        Raises:
            KeyboardInterrupt: After the jobs that have not ended have been cancelled.
        """
        room, waiting, running = self.at_once, list(jobs), dict[Any, Job]()
        task = self.ray.remote(run_command).options(
            num_cpus=self.takes["CPU"], num_gpus=self.takes["GPU"], max_retries=0
        )
        try:
            while waiting or running:
                while waiting and len(running) < room:
                    job = waiting.pop(0)
                    begun(job)
                    running[task.remote(*_given(job))] = job
                for done in self.ray.wait(list(running))[0]:
                    yield running.pop(done), self._code(done)
        finally:
            for left in running:
                self.ray.cancel(left)

    def _code(self, done: Any) -> int:
        try:
            return int(self.ray.get(done))
        except self.ray.exceptions.RayError:
            return _NO_RESULT


class Joblib:
    """Tasks of joblib: its own processes, or a backend that a cluster's library has registered.

    Args:
        n_jobs: How many at a time.
        backend: Such as "loky", "dask" or "ray".
    """

    def __init__(self, n_jobs: int, backend: str) -> None:
        self.joblib = _library("joblib", "joblib")
        self.at_once = n_jobs
        self.backend = backend

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Run jobs and give each with its exit code when it ends."""

        def tasks() -> Iterator[Any]:
            for job in jobs:
                begun(job)
                yield self.joblib.delayed(_numbered)(job.number, *_given(job))

        by_number = {job.number: job for job in jobs}
        try:
            parallel = self.joblib.Parallel(
                n_jobs=self.at_once, backend=self.backend, return_as="generator_unordered",
                pre_dispatch="n_jobs", batch_size=1,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(
                f"hydra.launcher.backend={self.backend}: joblib has no such"
            ) from error
        for number, code in parallel(tasks()):
            yield by_number[number], code


def _numbered(number: int, *given: Any) -> tuple[int, int]:
    return number, run_command(*given)
