"""What runs the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from distill_lab.launch.jobs import Job

Begun = Callable[[Job], None]


class Executor(Protocol):
    """Runs jobs somewhere: in processes of this machine, or on a cluster."""

    @property
    def at_once(self) -> int:
        """How many jobs run at a time, as far as is known."""
        ...

    def run(self, jobs: Sequence[Job], begun: Begun) -> Iterator[tuple[Job, int]]:
        """Run jobs and give each with its exit code when it ends; negative codes are signals.

        Args:
            jobs: In the order in which they begin.
            begun: Called with a job when it begins.

        Raises:
            KeyboardInterrupt: After the jobs that run have been told to end.
        """
        ...
