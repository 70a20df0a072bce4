"""How much memory this process takes, by the kernel."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Return what the process has in memory now; where the kernel does not say, its peak."""
    return _told("VmRSS") or _most()


def peak_bytes() -> int:
    """Return the most that the process has had in memory, since `forget_peak` where that works.

    Not `ru_maxrss` where Linux says it better: a process inherits that of the one that started it.
    """
    return _told("VmHWM") or _most()


def forget_peak() -> None:
    """Give back what is free and let the peak begin anew, as far as the kernel allows it."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def _told(name: str) -> int:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(next(found, 0))


def _most() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
