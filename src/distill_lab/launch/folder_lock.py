"""One process works in the folder of a run; another one that wants to is told so.

The system lets go of the lock when its process ends, however that happens; the file stays and means
nothing.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from distill_lab.errors import FolderInUse
from distill_lab.launch.jobs import RESULT_FILE
from distill_lab.launch.traces import TRACES

BUSY = FolderInUse.code  # exit code of a job that found its folder taken
HELD = "~hydra.callbacks.folder_lock"  # typed for processes whose starter holds the lock
_LOCK_FILE = ".lock"


class FolderTaken(BaseException):
    """Another process works in the folder; not an Exception, which Hydra would only warn of."""


class FolderLock(Callback):
    """Takes a run's folder before Hydra writes into it, and keeps it until the process ends."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Take the folder, for all processes that train together.

        Raises:
            FolderTaken: If another process has it.
        """
        if is_further_rank():
            return
        HydraConfig.instance().set_config(config)  # for interpolations of `hydra:`
        folder = Path(str(OmegaConf.select(config, "hydra.run.dir")))
        TRACES.of_run(folder)
        lock = _lock(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise FolderTaken(sentence(folder)) from None
        except OSError:  # of the disk, which Hydra meets next
            return
        self.lock = lock

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note what stands in the folder of a sweep."""
        HydraConfig.instance().set_config(config)
        TRACES.of_sweep(Path(str(OmegaConf.select(config, "hydra.sweep.dir"))))

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Let go of the folder."""
        if self.lock is not None:
            self.lock.release()


def inherit(folder: Path) -> None:
    """Take a run's folder when who has it dies, until this process has ended too.

    Args:
        folder: In which the starter of this process, and of those it trains with, has the lock.
    """
    lock = FileLock(folder / _LOCK_FILE, thread_local=False)

    def wait() -> None:
        with suppress(OSError):
            lock.acquire(poll_interval=0.2)
            threading.Event().wait()

    threading.Thread(target=wait, daemon=True).start()


def busy(folder: Path) -> bool:
    """Whether another process works in a folder; nothing is written."""
    if not (folder / _LOCK_FILE).exists():
        return False
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # of the disk, told by who writes
        return False
    lock.release()
    return False


def settled(folder: Path, since: float) -> int | None:
    """Return the exit code of a job that need not begin: it is done, or is being done; else None.

    Args:
        folder: The job's.
        since: When it was not done yet, in seconds of `time.time`.
    """
    if busy(folder):
        return BUSY
    result = folder / RESULT_FILE
    return 0 if result.is_file() and result.stat().st_mtime > since else None


def sentence(folder: Path) -> str:
    """Return what is said of a folder that is taken."""
    return (
        f"{folder}: another process works in this folder; wait for it, or name another with"
        " hydra.run.dir="
    )


def is_further_rank() -> bool:
    """Whether this process trains together with a first one, which writes the files of both."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) != "0"


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / _LOCK_FILE)
