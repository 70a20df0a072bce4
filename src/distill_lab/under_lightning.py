"""Lightning's ways that a training of ours does without."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.utilities.exceptions import SIGTERMException

from distill_lab.callbacks.resume import Stopped


class Unwatched(PassThroughProfiler):
    """No profiler, at no price: Lightning asks for some fifty of its contexts in each step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> nullcontext[None]:  # type: ignore[override]
        """Return a context that does nothing."""
        return self._nothing


@contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Let Ctrl-C out; Lightning ends the process on its own, deaf to a second one.

    A process that was told to end (SIGTERM) ends by it: Lightning's exit code would be 0. So does
    one whose training has stopped for it, see `callbacks.resume`.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except Stopped as stopped:
        if stopped.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    except SIGTERMException:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    except SystemExit as stopped:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stopped


@contextmanager
def memory_unfilled() -> Iterator[None]:
    """Let `trainer.deterministic` choose kernels, but not fill memory that is written next anyway.

    That takes 3 to 5 % of a step on a CPU and guards only against reading what was never written.
    """
    flags: Any = torch.utils.deterministic
    before = flags.fill_uninitialized_memory
    flags.fill_uninitialized_memory = False
    try:
        yield
    finally:
        flags.fill_uninitialized_memory = before


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Lightning says of devices, workers and tips."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        # Metrics are computed from the answers of all processes, alike in each.
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
        # Nobody changes in place what `fully_shard` gives.
        warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
        # Batches are told where an earlier try stopped, in another way than Lightning knows.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
        # A training that ends within its first epoch scores none.
        warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")
        try:
            yield
        finally:
            logger.setLevel(level)
