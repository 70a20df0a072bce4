"""One job, one process: no job sees what another left in memory.

In-process sweeps mix W&B runs and leak memory, and Lightning's further ranks start sweeps of their
own under `-m`; a process for each job has none of this.
"""

import json
import logging
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from distill_lab.config import plain
from distill_lab.errors import ConfigError, JobsFailed, UsageError
from distill_lab.store import digest

log = logging.getLogger(__name__)
# No `from __future__ import annotations` above: Hydra loads plugins in a way that dataclasses of
# such modules do not survive.
_LONGEST_NAME = 120
SUBDIR = "hydra.sweep.subdir"


@dataclass
class ProcessConf:
    """Configuration of `hydra/launcher=process`."""

    _target_: str = "hydra_plugins.distill_lab_launcher.process_launcher.ProcessLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="process", node=ProcessConf, provider="distill_lab"
)


class ProcessLauncher(Launcher):
    """Runs the jobs of a sweep one after another, each in a fresh process.

    A job's folder is named by its overrides, so the same line finds finished jobs and skips them,
    and another line does not write over them.
    """

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
        sweep_dir = Path(str(self.config.hydra.sweep.dir))
        varying = _varying(job_overrides)
        composed = self._looked_at(job_overrides, varying)
        returns, clock = [], _Clock(len(job_overrides))
        for number, (overrides, config) in enumerate(zip(job_overrides, composed, strict=True), 1):
            names = [o for o in own(overrides) if o in varying or len(job_overrides) == 1]
            given = _given_folder(overrides, config)
            names = [given.name] if given else names
            folder = given or job_folder(sweep_dir, names or own(overrides), own(overrides))
            left = clock.left(number)
            log.info("job %d/%d%s: %s", number, len(job_overrides), left, " ".join(names))
            returns.append(self._one(list(overrides), folder, config, clock))
        failed = [r for r in returns if r.status is JobStatus.FAILED]
        if failed:
            lines = [f"  {r.working_dir}" for r in failed]
            raise JobsFailed(
                f"{len(failed)} of {len(returns)} jobs failed; see error.txt in\n"
                + "\n".join(lines)
            )
        return returns

    def _looked_at(
        self, job_overrides: Sequence[Sequence[str]], varying: set[str]
    ) -> list[DictConfig]:
        """Compose all jobs and hold every key and value against what takes it.

        Raises:
            ConfigError: With the faults of all jobs.
        """
        from distill_lab.run import look_at

        composed, faults = [], dict[str, list[str]]()
        for overrides in job_overrides:
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            composed.append(config)
            job = " ".join(o for o in own(overrides) if o in varying)
            HydraConfig.instance().set_config(config)  # for interpolations of `hydra:`
            try:
                look_at(plain(_without_hydra(config)))
            except UsageError as error:
                for fault in str(error).splitlines():
                    faults.setdefault(fault, []).append(job)
        HydraConfig.instance().set_config(self.config)
        if faults:
            raise ConfigError(
                fault
                if len(jobs) == len(job_overrides)
                else f"{fault} (in {len(jobs)} of {len(job_overrides)} jobs, such as {jobs[0]})"
                for fault, jobs in faults.items()
            )
        return composed

    def _one(
        self, overrides: list[str], folder: Path, config: DictConfig, clock: "_Clock"
    ) -> JobReturn:
        job = JobReturn(overrides=overrides, working_dir=str(folder))
        job.cfg = config
        if _finished(folder, own(overrides)):
            log.info("  finished before: %s", folder)
        else:
            command = [sys.executable, "-m", "distill_lab", "train", *self._flags(), *overrides]
            command += [f"hydra.run.dir={_quoted(folder)}", "hydra.mode=RUN"]
            with clock:
                code = subprocess.run(command, check=False).returncode
            if code:
                job.status = JobStatus.FAILED
                job._return_value = JobsFailed(f"{folder}: exit code {code}")
                return job
        job.status = JobStatus.COMPLETED
        job._return_value = _score(folder)
        return job

    def _flags(self) -> list[str]:
        """Return the flags that name a user's own configuration folder."""
        sources: Any = self.config.hydra.runtime.config_sources
        return [
            f"--config-dir={source.path}" for source in sources if source.provider == "command-line"
        ]


class _Clock:
    """Tells how long a sweep will still take, from the jobs that have run."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.taken: list[float] = []

    def left(self, number: int) -> str:
        """Return the time left before a job, counted from 1, or an empty string."""
        # The first job may also train the teacher; only later ones tell.
        if len(self.taken) < 2:
            return ""
        each = statistics.median(self.taken[1:])
        minutes = each * (self.jobs - number + 1) / 60
        return f" (about {_in_words(minutes)} left)"

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.taken.append(time.monotonic() - self._since)


def _in_words(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def _without_hydra(config: DictConfig) -> DictConfig:
    keys = [str(key) for key in config if key != "hydra"]
    return OmegaConf.masked_copy(config, keys)


def own(overrides: Sequence[str]) -> list[str]:
    """Return a job's overrides without those of `hydra`, which say nothing of what it computes."""
    return [o for o in overrides if not re.match(r"[+~]*hydra[./]", o)]


def _given_folder(overrides: Sequence[str], config: DictConfig) -> Path | None:
    """Return the folder that a sweeper chose for a job by `hydra.sweep.subdir`, else None."""
    if not any(override.startswith(f"{SUBDIR}=") for override in overrides):
        return None
    return Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)


def job_name(overrides: Sequence[str]) -> str:
    """Return a folder name that tells a job's overrides; long ones end in a fingerprint."""
    text = ",".join(re.sub(r"[^\w.=+-]", "_", override.lstrip("+~")) for override in overrides)
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - 9]}-{digest(list(overrides))[:8]}"


def job_folder(sweep_dir: Path, names: Sequence[str], overrides: Sequence[str]) -> Path:
    """Return a job's folder; where another line's job has the name, a fingerprint is added.

    Args:
        sweep_dir: Folder of the sweep.
        names: The overrides in which the line's jobs differ.
        overrides: All of the job's overrides.
    """
    folder = sweep_dir / job_name(names)
    before = _overrides(folder)
    if before is None or before == sorted(overrides):
        return folder
    return folder.with_name(f"{folder.name}-{digest(sorted(overrides))[:8]}")


def _varying(job_overrides: Sequence[Sequence[str]]) -> set[str]:
    """Return the overrides in which the jobs differ, and none that all share."""
    shared = set(job_overrides[0]).intersection(*map(set, job_overrides))
    return {o for overrides in job_overrides for o in overrides} - shared


def _finished(folder: Path, overrides: list[str]) -> bool:
    return (folder / "result.json").is_file() and _overrides(folder) == sorted(overrides)


def _overrides(folder: Path) -> list[str] | None:
    """Return what was typed for a folder's job, None if it has none."""
    file = folder / ".hydra" / "overrides.yaml"
    if not file.is_file():
        return None
    # As typed: an interpolation means nothing here.
    typed = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return sorted(map(str, typed or []))


def _score(folder: Path) -> float | None:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    scores = result["metrics"].get("student", {})  # none for a run that was pruned
    value = scores.get(result["metric"])
    return None if value is None else float(value)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
