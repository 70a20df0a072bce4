"""Jobs that submitit has submitted: whether they run, how they ended."""

from __future__ import annotations

import re
import time
from typing import Any

from distill_lab.launch.jobs import LATE
from distill_lab.launch.slurm_queue import Queue, State

Ended = tuple[int, str | None]  # exit code, and why if that is known
_FAILED = 1
_CODE = re.compile(r"ProcessFailed: exit code (-?\d+)")
_RAISED = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")  # last line of a traceback


class OnThisMachine:
    """A job that submitit runs without Slurm.

    Args:
        handle: As submitit returns it.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def runs(self) -> bool:
        """Whether it has begun and not ended."""
        return bool(self.handle.state == "RUNNING")

    def ended(self) -> Ended | None:
        """Return how it ended, None if it has not."""
        return _answer(self.handle) if self.handle.done() else None


class InQueue:
    """A job of Slurm.

    Args:
        handle: As submitit returns it; its own look at the queue is not used.
        queue: Tells of it.
    """

    def __init__(self, handle: Any, queue: Queue) -> None:
        self.handle = handle
        self.queue = queue
        self._late_from: float | None = None

    def runs(self) -> bool:
        """Whether it has begun and not ended."""
        state = self._state()
        return state is not None and state.name in ("RUNNING", "COMPLETING")

    def _state(self) -> State | None:
        return self.queue.state(self.handle.job_id)

    def ended(self) -> Ended | None:
        """Return how it ended, None if it has not; what it cannot tell, Slurm does."""
        tasks = [self.handle.task(number) for number in range(self.handle.num_tasks)]
        answers = [_answer(task) for task in tasks if task.paths.result_pickle.exists()]
        bad = next((answer for answer in answers if answer[0]), None)
        if len(answers) == len(tasks) and (bad is None or (bad[0] > 0 and bad[1] is None)):
            return bad or (0, None)
        state = self._state()
        if state is None or not state.ended:
            return None
        if state.name in ("COMPLETED", "FAILED", "GONE") and len(answers) < len(tasks):
            self._late_from = self._late_from or time.monotonic()
            if bad is None and time.monotonic() < self._late_from + LATE:
                return None
        code, why = bad or (_FAILED, None)
        if state.name in ("COMPLETED", "FAILED") and bad is not None:
            return code, why
        return code, state.why(self.handle.job_id)


def _answer(task: Any) -> Ended:
    """Return how one of a job's processes ended, as it has told."""
    error = task.exception()
    if error is None:
        code = int(task.result())
        return code, _by_signal(code)
    code_found = _CODE.search(str(error))
    if code_found:
        code = int(code_found[1])
        return code, _by_signal(code) or f"one of its processes failed (exit code {code})"
    if "timed-out" in str(error):
        return _FAILED, State("TIMEOUT").why("")
    told = [line for line in str(error).splitlines() if _RAISED.match(line)]
    return _FAILED, told[-1] if told else "it failed before it began; see .submitit"


def _by_signal(code: int) -> str | None:
    return State("OUT_OF_MEMORY").why("") if code == -9 else None
