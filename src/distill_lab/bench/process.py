"""A measuring process, seen from the one that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_lab.bench.energy import Counter
from distill_lab.bench.networks import Spec
from distill_lab.bench.turns import Round
from distill_lab.errors import ModelError

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Memory:
    """The most memory at a time, in bytes.

    Attributes:
        model: What the model takes: on the CPU above the process without it, on a GPU all that
            torch has taken.
        process: What the whole process takes of the machine's memory, with its libraries.
    """

    model: int
    process: int


class Measured:
    """A model in one form, in a process of its own.

    Args:
        spec: What to measure.
        work: Folder of what the process is told and says; its name tells it from others.
        counter: Energy of the machine.
    """

    def __init__(self, spec: Spec, work: Path, counter: Counter) -> None:
        work.mkdir(parents=True)
        self.counter = counter
        self.log = work / "log"
        told = work / "spec.json"
        told.write_text(json.dumps(asdict(spec)), encoding="utf-8")
        threads = {name: str(spec.threads) for name in _THREADS}
        quiet = {"TOKENIZERS_PARALLELISM": "false", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "distill_lab.bench.worker", str(told)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                encoding="utf-8", env={**os.environ, **threads, **quiet},
            )  # fmt: skip

    def load(self) -> int | None:
        """Load the model.

        Returns:
            Bytes of its weights where only the process knows them.

        Raises:
            ModelError: If it cannot be loaded in this form.
        """
        saved: int | None = self._ask("load")["saved_bytes"]
        return saved

    def measure(self) -> Round:
        """Read all rows once.

        Raises:
            ModelError: If the model fails, or its process ends.
        """
        single = self._ask("alone")["seconds"]
        before = self.counter.read()
        batched = self._ask("batched")
        joules = self.counter.since(before)
        return Round(single, batched["rows"], batched["seconds"], joules)

    def settle(self) -> None:
        """Let what counts of memory begin here."""
        self._ask("settle")

    def memory(self) -> Memory:
        """Return the most memory since `settle`.

        Raises:
            ModelError: If the process has ended.
        """
        return Memory(**self._ask("memory"))

    def end(self) -> None:
        """End the process."""
        self.process.terminate()
        with suppress(OSError):  # a pipe that it has not emptied
            self.process.__exit__(None, None, None)

    def _ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise ModelError(self._ended())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer

    def _ended(self) -> str:
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "the system ended its process, most likely for want of memory"
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        said = f": {last[0][:200]}" if last else ""
        return f"its process ended with code {code}{said}"
