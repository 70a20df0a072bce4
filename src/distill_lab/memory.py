"""Memory: how much is left, how much a piece of work takes, and what to say when it runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from distill_lab.errors import MemoryFault

_RAN_OUT = ("out of memory", "can't allocate memory", "bad_alloc", "ALLOC_FAILED")
_CLEAR_PEAK = "5"  # proc(5), clear_refs
_PROC, _GROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory, in the words of any of torch's devices."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _RAN_OUT)


@contextmanager
def building(what: str, *remedies: str) -> Iterator[None]:
    """Say what was being built when memory ran out, and what helps.

    Args:
        what: As the subject of a sentence: "training the student on 32 rows at a time".
        remedies: Settings to try, the best first.

    Raises:
        MemoryFault: If memory ran out inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        asked = str(error).strip().splitlines()[0] if str(error).strip() else "no memory"
        raise MemoryFault(
            f"{what} needs more memory than there is ({asked[:200]}); what helps:"
            f" {', '.join(remedies)}"
        ) from error


def available(device: torch.device) -> int:
    """Return how many bytes a process may still take on a device.

    On a CPU the least of what the machine, the process's control groups (containers, Slurm) and
    its own limit leave.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + idle)
    left = [int(psutil.virtual_memory().available), *_left_of_groups()]
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            left.append(soft - psutil.Process().memory_info().vms)
    return max(min(left), 0)


class Peak:
    """The most memory that this process has had in RAM since this was made.

    Linux alone can tell; elsewhere nothing is known.
    """

    def __init__(self) -> None:
        self.known = False
        with suppress(OSError):
            (_PROC / "clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
            self.known = True
        self.before = self._status("VmRSS")

    def grown(self) -> int | None:
        """Return by how many bytes it has been more than at the beginning; None if unknown."""
        return max(self._status("VmHWM") - self.before, 0) if self.known else None

    def _status(self, name: str) -> int:
        if not self.known:
            return 0
        lines = (_PROC / "status").read_text(encoding="ascii", errors="replace").splitlines()
        found = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return 1024 * int(next(found, "0"))


def _left_of_groups() -> Iterator[int]:
    """Give what the control groups of this process leave it (version 2)."""
    with suppress(OSError, ValueError):
        entries = (_PROC / "cgroup").read_text(encoding="utf-8").split()
        own = next(entry for entry in entries if entry.startswith("0::"))[3:]
        folder = _GROUPS / own.lstrip("/")
        for group in (folder, *folder.parents):
            if group == _GROUPS.parent:
                return
            with suppress(OSError, ValueError):
                most = int((group / "memory.max").read_text(encoding="ascii"))
                yield most - int((group / "memory.current").read_text(encoding="ascii"))
