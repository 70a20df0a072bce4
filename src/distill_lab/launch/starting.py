"""Starting the processes that train one model together, by torch's elastic launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def start_together(processes: int, arguments: Sequence[str]) -> int:
    """Run `distill-lab train` in several processes of this machine.

    All have the same arguments, so that no rank can train with other values than the first.

    Args:
        processes: How many.
        arguments: What follows `distill-lab train`; names the folder of the run.

    Returns:
        The exit code of the first that failed, or 0.

    Raises:
        KeyboardInterrupt: If it was interrupted; they have ended. By another signal this process
            ends too, after them.
    """
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # errors are told by ours
    threads = max(1, torch.get_num_threads() // processes)  # of this job's share
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    command = ["-m", "distill_lab", "train", *arguments]
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return int(failure.exitcode)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        signal.signal(error.sigval, signal.SIG_DFL)
        signal.raise_signal(error.sigval)
    return 0
