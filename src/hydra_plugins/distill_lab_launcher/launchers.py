"""What `hydra/launcher=` can name. A job is a process: it sees nothing that another left in memory.

In-process sweeps mix W&B runs and leak memory, and Lightning's further ranks start sweeps of their
own under `-m`; a process for each job has none of this.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from distill_lab.errors import ConfigError
from distill_lab.launch.clusters import Joblib, Ray
from distill_lab.launch.executor import Executor
from distill_lab.launch.processes import Processes
from distill_lab.launch.slurm import Slurm
from distill_lab.processors import processors

# No `from __future__ import annotations` above: Hydra loads plugins in a way that dataclasses of
# such modules do not survive.
_HERE = "hydra_plugins.distill_lab_launcher.launchers"


@dataclass
class ProcessConf:
    """Configuration of `hydra/launcher=process`."""

    _target_: str = f"{_HERE}.ProcessLauncher"
    n_jobs: int = 1


@dataclass
class JoblibConf:
    """Configuration of `hydra/launcher=joblib`."""

    _target_: str = f"{_HERE}.JoblibLauncher"
    n_jobs: int = -1
    backend: str = "loky"


@dataclass
class RayConf:
    """Configuration of `hydra/launcher=ray`."""

    _target_: str = f"{_HERE}.RayLauncher"
    address: str | None = None
    num_cpus: float = 1
    num_gpus: float = 0


@dataclass
class SlurmConf:
    """Configuration of `hydra/launcher=slurm`."""

    _target_: str = f"{_HERE}.SlurmLauncher"
    cluster: str = "slurm"
    n_jobs: int = 64
    partition: str | None = None
    timeout_min: int = 24 * 60
    cpus_per_task: int = 4
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    mem_gb: float | None = None
    setup: list[str] = field(default_factory=list)
    additional: dict[str, Any] = field(default_factory=dict)


class SweepLauncher(Launcher):
    """Looks at all jobs of a line before the first one starts, skips those that are finished.

    A job's folder is named by its overrides, so the same line finds finished jobs and skips them,
    and another line does not write over them. Where the jobs run is for the executor.
    """

    executor: Executor

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what is needed to compose a job."""
        self.context = hydra_context
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; one that fails does not stop the others.

        Raises:
            ConfigError: Before the first one, if any cannot be composed or has a wrong value.
            JobsFailed: At the end, if any failed.
        """
        from distill_lab.launch.sweep import Sweep  # not at every start

        return Sweep(self.context.config_loader, self.config, self.executor).run(job_overrides)


class ProcessLauncher(SweepLauncher):
    """Processes of this machine.

    Args:
        n_jobs: How many at a time; -1 for as many as there are processors.
    """

    def __init__(self, n_jobs: int = 1) -> None:
        self.executor = Processes(_at_a_time(n_jobs))


class JoblibLauncher(SweepLauncher):
    """Tasks of joblib.

    Args:
        n_jobs: How many at a time; -1 for as many as there are processors.
        backend: "loky", "threading" or "sequential".
    """

    def __init__(self, n_jobs: int, backend: str) -> None:
        self.executor = Joblib(_at_a_time(n_jobs), backend)


class RayLauncher(SweepLauncher):
    """Tasks of a Ray cluster.

    Args:
        address: Of the cluster; None starts one on this machine, "auto" finds one.
        num_cpus: Processors that a job takes.
        num_gpus: GPUs that a job takes.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.executor = Ray(address, num_cpus, num_gpus)


class SlurmLauncher(SweepLauncher):
    """Jobs of a Slurm array, by submitit.

    Args:
        cluster: "slurm", or "local" for processes of this machine.
        n_jobs: How many of the array run at a time, at most.
        partition: Where jobs run; None for the cluster's default.
        timeout_min: Minutes after which a job is ended.
        cpus_per_task: Processors of a task.
        gpus_per_node: GPUs of a job.
        tasks_per_node: Processes of a job; equal to `trainer.devices` where that is more than one.
        mem_gb: Memory of a job; None for the cluster's default.
        setup: Lines of the shell that come before a job.
        additional: Other parameters of sbatch by name.
    """

    def __init__(
        self,
        cluster: str,
        n_jobs: int,
        partition: str | None,
        timeout_min: int,
        cpus_per_task: int,
        gpus_per_node: int,
        tasks_per_node: int,
        mem_gb: float | None,
        setup: list[str],
        additional: dict[str, Any],
    ) -> None:
        shared = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "tasks_per_node": tasks_per_node,
            "mem_gb": mem_gb,
            "slurm_partition": partition,
            "slurm_setup": list(setup) or None,
            "slurm_additional_parameters": dict(additional) or None,
        }
        given = {key: value for key, value in shared.items() if value is not None}
        self.executor = Slurm(cluster, given, _at_a_time(n_jobs))


def _at_a_time(n_jobs: int) -> int:
    if n_jobs == 0 or n_jobs < -1:
        raise ConfigError(f"hydra.launcher.n_jobs={n_jobs}: at least 1, or -1 for one a processor")
    return n_jobs if n_jobs > 0 else processors()


_CHOICES: dict[str, Any] = {
    "process": ProcessConf,
    "joblib": JoblibConf,
    "ray": RayConf,
    "slurm": SlurmConf,
}
for _name, _node in _CHOICES.items():
    ConfigStore.instance().store(
        group="hydra/launcher", name=_name, node=_node, provider="distill_lab"
    )
