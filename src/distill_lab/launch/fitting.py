"""Which jobs of a line can run: named ones must, those that a `glob` found may be left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.launch.jobs import Job

_GLOB = re.compile(r"^[+]*([\w./@]+)=\s*glob\(")


@dataclass
class Faults:
    """What keeps jobs from running.

    Attributes:
        having: The jobs that have a fault, by its sentence.
    """

    having: dict[str, list[Job]] = field(default_factory=dict)

    def note(self, job: Job, found: Iterable[str]) -> None:
        """Add a job's faults."""
        for fault in found:
            self.having.setdefault(fault, []).append(job)

    def of_globs(self, keys: Sequence[str], jobs: Sequence[Job]) -> dict[str, list[Job]]:
        """Return the faults of choices that nobody has named.

        A fault belongs to a choice if each of its jobs has it, whatever else differs between them,
        and if jobs with other choices do not.

        Args:
            keys: What was typed as `glob(...)`.
            jobs: All that have been looked at, or are finished.
        """
        return {
            fault: having
            for fault, having in self.having.items()
            if any(_belongs(key, having, jobs) for key in keys)
        }

    def refuse(self, jobs: Sequence[Job], but: Mapping[str, list[Job]]) -> None:
        """Stop the line, unless all faults are among those for which jobs are left out.

        Args:
            jobs: All that have been looked at.
            but: Faults for which jobs are left out.

        Raises:
            ConfigError: With the others.
        """
        told = [_told(f, having, jobs) for f, having in self.having.items() if f not in but]
        if told:
            raise ConfigError(told)


def globbed(hydra: Any) -> list[str]:
    """Return the keys whose choices a pattern has found, on the command line or in an overlay.

    Args:
        hydra: Hydra's part of the sweep's configuration.
    """
    params = hydra.sweeper.get("params") or {}
    lines = [*hydra.overrides.task, *(f"{key}={value}" for key, value in params.items())]
    return [found[1] for line in lines if (found := _GLOB.match(str(line)))]


def _belongs(key: str, having: Sequence[Job], jobs: Sequence[Job]) -> bool:
    faulty = {_value(job, key) for job in having}
    unfinished = [job for job in jobs if not job.finished]
    every = all(job in having for job in unfinished if _value(job, key) in faulty)
    return every and faulty != {_value(job, key) for job in jobs}


def _value(job: Job, key: str) -> str:
    """Return what a job has for a key that was typed; the last one counts."""
    sides = (override.lstrip("+").partition("=") for override in job.overrides)
    return next((value for name, _, value in reversed([*sides]) if name == key), "")


def _told(fault: str, having: Sequence[Job], jobs: Sequence[Job]) -> str:
    """Return a fault with the jobs that have it."""
    if len(having) == len(jobs):
        return fault
    return f"{fault} (in {len(having)} of {len(jobs)} jobs, such as {having[0].title})"
