"""One job, one process: no job sees what another left in memory.

In-process sweeps mix W&B runs and leak memory, and Lightning's further ranks start sweeps of their
own under `-m`; a process for each job has none of this.
"""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from distill_lab.errors import JobsFailed
from distill_lab.store import digest

log = logging.getLogger(__name__)
# No `from __future__ import annotations` above: Hydra loads plugins in a way that dataclasses of
# such modules do not survive.
_LONGEST_NAME = 120


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
            JobsFailed: At the end, if any did.
        """
        sweep_dir = Path(str(self.config.hydra.sweep.dir))
        varying = _varying(job_overrides)
        returns = []
        for offset, overrides in enumerate(job_overrides):
            names = [o for o in overrides if o in varying or len(job_overrides) == 1]
            folder = job_folder(sweep_dir, names or list(overrides), list(overrides))
            log.info("job %d/%d: %s", offset + 1, len(job_overrides), " ".join(names))
            returns.append(self._one(list(overrides), folder, initial_job_idx + offset))
        failed = [r for r in returns if r.status is JobStatus.FAILED]
        if failed:
            lines = [f"  {r.working_dir}" for r in failed]
            raise JobsFailed(
                f"{len(failed)} of {len(returns)} jobs failed; see error.txt in\n"
                + "\n".join(lines)
            )
        return returns

    def _one(self, overrides: list[str], folder: Path, index: int) -> JobReturn:
        job = JobReturn(overrides=overrides, working_dir=str(folder))
        job.cfg = self.context.config_loader.load_sweep_config(self.config, overrides)
        if _finished(folder, overrides):
            log.info("  finished before: %s", folder)
        else:
            command = [sys.executable, "-m", "distill_lab", "train", *self._flags(), *overrides]
            command += [f"hydra.run.dir={_quoted(folder)}", "hydra.mode=RUN"]
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
    value = result["metrics"]["student"][result["metric"]]
    return float(value)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
