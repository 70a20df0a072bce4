"""The process that measures one model in one form, so that memory and threads are its own.

`python -m distill_lab.bench.worker SPEC.json`, started by `bench.process`: it reads a command a
line from its standard input and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill_lab.bench.memory import forget_peak, peak_bytes, resident_bytes
from distill_lab.bench.networks import Call, Network, Spec, opened
from distill_lab.bench.passes import load_passes
from distill_lab.errors import UsageError

Answer = dict[str, Any]
_LEAST = 0.5  # seconds; counters of energy stand still for a tenth of one


class Worker:
    """Answers commands about one model.

    Args:
        spec: What to measure.
        clock: Seconds.
    """

    def __init__(self, spec: Spec, clock: Callable[[], float] = time.perf_counter) -> None:
        self.spec = spec
        self.clock = clock
        self.without = 0
        self.single: list[Call] = []
        self.batches: list[Call] = []
        self.rows = 0
        self.took = _LEAST
        self.passes = 1

    def load(self) -> Answer:
        """Load the model; say what it takes on disk where only the process knows."""
        single, batches = load_passes(Path(self.spec.passes))
        self.rows = sum(len(next(iter(each.values()))) for each in batches)
        _warm(self.spec)
        forget_peak()
        self.without = resident_bytes()
        network: Network = opened(self.spec)
        self.single, self.batches = network.calls(single), network.calls(batches)
        return {"saved_bytes": network.saved_bytes}

    def settle(self) -> Answer:
        """Let what counts begin here: memory, and as many passes in batches as make a moment."""
        self.passes = math.ceil(_LEAST / max(self.took, 1e-9))
        forget_peak()
        if self.spec.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        return {}

    def alone(self) -> Answer:
        """Read every row alone; give the seconds of each."""
        return {"seconds": [self._timed([call]) for call in self.single]}

    def batched(self) -> Answer:
        """Read all batches, as often as makes a moment; give the seconds and the rows."""
        seconds = self._timed(self.batches * self.passes)
        self.took = seconds / self.passes
        return {"seconds": seconds, "rows": self.rows * self.passes}

    def memory(self) -> Answer:
        """Give the most memory since `settle`, in bytes: of the model, and of the process."""
        process = peak_bytes()
        if self.spec.device == "cpu":
            return {"model": max(process - self.without, 0), "process": process}
        import torch

        return {"model": torch.cuda.max_memory_allocated(), "process": process}

    def _timed(self, calls: Sequence[Call]) -> float:
        started = self.clock()
        for call in calls:
            call()
        return self.clock() - started


def _warm(spec: Spec) -> None:
    """Load the libraries with what they make once, which is not the model's memory."""
    if spec.form.startswith("onnx"):
        import onnxruntime  # noqa: F401 - where it is missing, `opened` says so better

        return
    import torch
    from torch import nn

    from distill_lab.bench.networks import class_of

    torch.set_num_threads(spec.threads)
    class_of(spec)
    if spec.form == "int8":
        with suppress(ImportError):  # where it is missing, `opened` says so better
            import torchao.quantization  # noqa: F401
    layer = nn.TransformerEncoderLayer(64, 2, 64, activation="gelu", batch_first=True)
    with torch.inference_mode():
        layer.eval().to(spec.device)(torch.ones(2, 8, 64, device=spec.device)).sum().item()


def answer(worker: Worker, command: str) -> Answer:
    """Do what a command says; whatever goes wrong is the answer's `error`."""
    try:
        found: Answer = getattr(worker, command)()
    except UsageError as error:
        return {"error": str(error)}
    except Exception as error:  # told with the model's name, and the others go on
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        return {"error": f"{type(error).__name__}: {lines[0][:200]}"}
    return found


def main(file: str) -> None:
    """Answer commands until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker(Spec(**json.loads(Path(file).read_text(encoding="utf-8"))))
    for line in sys.stdin:
        answers.write(json.dumps(answer(worker, line.strip())) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
