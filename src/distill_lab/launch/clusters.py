"""Jobs on a cluster: by Ray, or a backend of joblib."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from distill_lab.errors import ConfigError, first_line
from distill_lab.launch.commands import given, library, run_command
from distill_lab.launch.executor import Begun
from distill_lab.launch.jobs import Job

log = logging.getLogger(__name__)
_NO_RESULT = 1


class Ray:
    """Tasks of a Ray cluster.

    Args:
        address: Of the cluster; None starts one on this machine, "auto" finds one.
        num_cpus: Processors that a job takes.
        num_gpus: GPUs that a job takes.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.ray = library("ray", "ray")
        self.address = address
        self.takes = {"CPU": num_cpus, "GPU": num_gpus}

    @property
    def at_once(self) -> int:
        """How many jobs the cluster has room for now; at least 1, for it may grow."""
        self._connect()
        has = self.ray.cluster_resources()
        rooms = {k: int(has.get(k, 0) // n) for k, n in self.takes.items() if n > 0}
        for kind in (kind for kind, room in rooms.items() if room == 0):
            log.warning(
                "hydra.launcher.num_%ss=%g: the cluster has %g %s now; jobs wait until it has more",
                kind.lower(), self.takes[kind], has.get(kind, 0), kind,
            )  # fmt: skip
        return max(1, min(rooms.values(), default=int(has.get("CPU", 1))))

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
                    running[task.remote(*given(job))] = job
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
    """Tasks of joblib, on this machine.

    Args:
        n_jobs: How many at a time.
        backend: "loky", "threading" or "sequential".
    """

    def __init__(self, n_jobs: int, backend: str) -> None:
        self.joblib = library("joblib", "joblib")
        self.at_once = n_jobs
        self.backend = backend

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Run jobs and give each with its exit code when it ends."""

        def tasks() -> Iterator[Any]:
            for job in jobs:
                begun(job)
                yield self.joblib.delayed(_numbered)(job.number, *given(job))

        by_number = {job.number: job for job in jobs}
        try:
            parallel = self.joblib.Parallel(
                n_jobs=self.at_once, backend=self.backend, return_as="generator_unordered",
                pre_dispatch="n_jobs", batch_size=1,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(
                f"hydra.launcher.backend={self.backend}: joblib says: {first_line(error)}"
            ) from error
        for number, code in parallel(tasks()):
            yield by_number[number], code


def _numbered(number: int, *command: Any) -> tuple[int, int]:
    return number, run_command(*command)
