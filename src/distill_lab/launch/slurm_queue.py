"""What Slurm says of jobs, by `squeue`, which needs no accounting database as `sacct` does."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)
_FORMAT = "%i|%T|%r|%o"  # job, state, reason, command
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL",
          "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}  # fmt: skip
_SHORTEST, _LONGEST = 2.0, 30.0  # seconds between two looks
_PATIENCE = 90.0  # seconds for jobs that were cancelled; Slurm's KillWait is 30


@dataclass(frozen=True)
class State:
    """What Slurm says of a job.

    Attributes:
        name: Such as "PENDING"; "GONE" where Slurm no longer knows the job.
        reason: Why it is so, in Slurm's word.
        command: The script that was submitted.
    """

    name: str
    reason: str = ""
    command: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.name in _ENDED or self.name == "GONE"

    def why(self, job_id: str) -> str:
        """Return why a job ended without a result."""
        told = {
            "CANCELLED": f"cancelled in Slurm (job {job_id})",
            "GONE": f"Slurm no longer knows its job {job_id}, which left no result",
            "NODE_FAIL": f"its machine failed (Slurm's job {job_id})",
            "OUT_OF_MEMORY": "it took more memory than it had; hydra.launcher.mem_gb= gives more",
            "TIMEOUT": "its time was over; hydra.launcher.timeout_min= gives more",
        }
        return told.get(self.name, f"Slurm says {self.name} ({self.reason}) of job {job_id}")


class Queue:
    """The user's jobs in Slurm, looked at now and then."""

    def __init__(self) -> None:
        self._states: dict[str, State] | None = None
        self._next, self._wait = 0.0, _SHORTEST

    def state(self, job_id: str) -> State | None:
        """Return what Slurm says of a job; None while Slurm does not answer."""
        if time.monotonic() >= self._next:
            self.look()
        return None if self._states is None else self._states.get(job_id, State("GONE"))

    def look(self) -> None:
        """Ask now; what was known stays where Slurm does not answer."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}",
                   f"--format={_FORMAT}"]  # fmt: skip
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            said = (answer.stderr.strip().splitlines() or ["nothing"])[-1]
            log.warning("squeue says: %s; asked again in %.0f s", said, self._wait)
        else:
            rows = [line.split("|", 3) for line in answer.stdout.splitlines()]
            self._states = {row[0].strip(): State(*row[1:]) for row in rows if len(row) == 4}
        self._next = time.monotonic() + self._wait
        self._wait = min(_LONGEST, 1.2 * self._wait)

    def soon(self) -> None:
        """Look often again, as jobs were submitted."""
        self._next, self._wait = 0.0, _SHORTEST

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs and wait for those that run to end."""
        subprocess.run(["scancel", *job_ids], capture_output=True, check=False)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            self.look()
            states = [self.state(job_id) for job_id in job_ids]
            if all(state is not None and state.ended for state in states):
                return
            time.sleep(1)
