"""Processes that end when what started them has died without a word."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait

_EVERY = 1.0  # seconds
_PATIENCE = 30.0  # seconds in which an interrupted process may end by itself


def end_with_sweep() -> None:
    """End this process, which multiprocessing has forked, with that of the sweep."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(lambda: wait([parent.sentinel]))


def end_with_starter() -> None:
    """End this process with the one that has started it to train together with others."""
    starter = os.getppid()

    def gone() -> None:
        while os.getppid() == starter:
            time.sleep(_EVERY)

    _end_after(gone)


def _end_after(gone: Callable[[], object]) -> None:
    def watch() -> None:
        gone()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_PATIENCE)
        os._exit(130)  # it waits for others, deaf to the signal

    threading.Thread(target=watch, daemon=True).start()
