"""Jobs as processes of this machine, some at a time.

They are forked from a process that has imported the libraries and done nothing else: no thread, no
accelerator, no random state has been touched, so a job is as good as one that was typed, and starts
at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from omegaconf import OmegaConf

from distill_lab.launch.executor import Begun
from distill_lab.launch.folder_lock import settled
from distill_lab.launch.jobs import CONSOLE_FILE, Job
from distill_lab.launch.orphans import end_with_sweep
from distill_lab.processors import processors

_Context = ForkServerContext | SpawnContext


@dataclass(frozen=True)
class Place:
    """A job among those that run at a time.

    Attributes:
        slot: Its number, from 0.
        of: How many there are.
        devices: Its `trainer.devices`.
    """

    slot: int
    of: int
    devices: object

    def gpus(self, count: int, visible: str = "") -> str:
        """Return which GPUs are its own; empty where it may have all.

        Args:
            count: How many there are.
            visible: `CUDA_VISIBLE_DEVICES`, which names them where it is set.
        """
        own = int(str(self.devices)) if str(self.devices).isdigit() else 0
        if not 0 < own < count:
            return ""
        names = visible.split(",") if visible else [str(i) for i in range(count)]
        return ",".join(names[(self.slot * own + i) % count] for i in range(own))


class Processes:
    """Runs jobs in processes of their own.

    A job that runs alone writes to the terminal; those that run beside others write to
    `console.log` of their folders, and share the processor's threads.

    Args:
        n_jobs: How many at a time.
    """

    def __init__(self, n_jobs: int) -> None:
        self.at_once = n_jobs

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Run jobs and give each with its exit code when it ends; negative codes are signals.

        Args:
            jobs: In the order in which they begin.
            begun: Called with a job when it begins.

        Raises:
            KeyboardInterrupt: After the jobs that run have been interrupted and have ended.
        """
        context, waiting, at_once = clean_context(), list(jobs), min(self.at_once, len(jobs))
        free, running = set(range(at_once)), dict[int, tuple[Job, BaseProcess, int]]()
        try:
            while waiting or running:
                while waiting and free:
                    job, slot = waiting.pop(0), min(free)
                    free.remove(slot)
                    begun(job)
                    process = self._start(context, job, slot, at_once)
                    running[process.sentinel] = (job, process, slot)
                for sentinel in wait(list(running)):
                    assert isinstance(sentinel, int)
                    job, process, slot = running.pop(sentinel)
                    process.join()
                    free.add(slot)
                    yield job, process.exitcode or 0
        finally:
            _stop([process for _, process, _ in running.values()])

    def _start(self, context: _Context, job: Job, slot: int, at_once: int) -> BaseProcess:
        output = job.folder / CONSOLE_FILE if at_once > 1 else None
        devices = OmegaConf.select(job.config, "trainer.devices")
        place = Place(slot, at_once, devices) if at_once > 1 else None
        given = (job.arguments, job.folder, job.since, output, place)
        process = context.Process(target=run_job, args=given)
        process.start()
        return process


def clean_context() -> _Context:
    """Return how processes are started that have the libraries and nothing else."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distill_lab.launch.preloaded"])
    with _deaf():
        forkserver.ensure_running()
    return context


@contextmanager
def _deaf() -> Iterator[None]:
    """Have what is started here ignore Ctrl-C, also while it imports the libraries."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_server() -> None:
    """End the process that jobs are forked from, which would begin those that wait."""
    server: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if server is not None:
        os.kill(server, signal.SIGKILL)


def hear() -> None:
    """Hear Ctrl-C again, to which the process that this one is forked from is deaf."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(processes: list[BaseProcess]) -> None:
    """Interrupt processes as Ctrl-C would, and wait for them."""
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join()


def run_job(
    arguments: list[str], folder: Path, since: float, output: Path | None, place: Place | None
) -> None:
    """Be one job: what a new process does.

    Args:
        arguments: What follows `distill-lab train`.
        folder: Where it runs, unless another process works there or has done it.
        since: When it was not done yet.
        output: File that takes what would go to the terminal.
        place: Its place among those that run at a time; None where it is alone.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the sweep alone, which tells its jobs once
    hear()
    end_with_sweep()
    settled_by = settled(folder, since)
    if settled_by is not None:
        sys.exit(settled_by)
    if output is not None:
        _write_to(output)
    if place is not None:
        _share(place)
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    from distill_lab.cli import main

    # Hydra would compose everything once more to find out; it is among the arguments.
    Hydra.get_mode = lambda *_, **__: RunMode.RUN  # type: ignore[method-assign]
    sys.argv = ["distill-lab", "train", *arguments]
    main()


def _write_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    os.close(file)


def _share(place: Place) -> None:
    """Take this job's part of the processor's threads, and as many GPUs as it uses, in turn."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, processors() // place.of))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    own = place.gpus(torch.cuda.device_count(), visible)  # does not touch them
    if own:
        os.environ["CUDA_VISIBLE_DEVICES"] = own
