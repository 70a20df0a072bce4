"""The processes that `startup.py` measures: a callback that ends them, and clocks around functions.

python -m benchmarks.startup_trace WHEN_IT_WAS_STARTED train OVERRIDE ...
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import reduce, wraps
from pathlib import Path
from typing import Any

MARK = "FIRST_STEP "
# In the order of the real command: Hydra first, then what the configuration names.
IMPORTS = ("hydra", "distill_lab.hydra_entry", "torch", "transformers", "pytorch_lightning",
           "distill_lab.run")  # fmt: skip
WRAPPED = {
    "hydra._internal.hydra.Hydra.compose_config": "composing: Hydra",
    "distill_lab.hydra_entry.plain": "composing: resolving",
    "distill_lab.parts.faults_by_group": "checking keys and values",
    "distill_lab.run.look_at": "building task, teacher, student, objective",
    "distill_lab.parts.check_budget": "building a trainer on trial",
    "distill_lab.tasks.text.TextTask.load": "rows: reading",
    "distill_lab.tasks.base.encode": "rows: tokens",
    "distill_lab.tasks.rows.Rows.fingerprint": "rows: fingerprints",
    "distill_lab.tasks.base.stored_rows": "rows: finding their tokens",
    "distill_lab.tasks.base.tokenizer_fingerprint": "tokeniser: fingerprint",
    "distill_lab.teachers.finetuned.FineTuned.tokenizer": "tokeniser: loading or training",
    "distill_lab.teachers.finetuned.FineTuned.check": "teacher: a look at it",
    "distill_lab.teachers.finetuned.FineTuned.prepare": "teacher: finding it",
    "distill_lab.teachers.finetuned.weights_fingerprint": "teacher: fingerprint of its weights",
    "distill_lab.teachers.finetuned.stored_scores": "teacher: its scores",
    "distill_lab.teachers.finetuned.load_model": "teacher: loading its weights",
    "distill_lab.store.damage": "store: checksums",
    "distill_lab.students.layers.Layers.check": "student: a look at it",
    "distill_lab.students.layers.Layers.build": "student: building it",
    "distill_lab.run.state_fingerprint": "student: fingerprint",
    "distill_lab.teachers.cached.SignalFiles": "signals: opening",
    "distill_lab.teachers.cached.check_signals": "signals: held against the teacher",
    "distill_lab.parts.SignalPlan.source": "signals: finding them",
    "distill_lab.run.fit": "Lightning: until the first step",
}
"""By the name under which a function is called: what the table says of it."""


class Trace:
    """Charges seconds to whatever is going on.

    Args:
        started: When the process was started, in seconds of `time.time`.
    """

    def __init__(self, started: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._going_on = ["starting the interpreter"]
        self._since = started

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what happens inside, unless a part of it has a name of its own."""
        self.charge()
        self._going_on.append(name)
        try:
            yield
        finally:
            self.charge()
            self._going_on.pop()

    def charge(self) -> None:
        """Charge the seconds since the last change."""
        now = time.time()
        self.seconds[self._going_on[-1]] += now - self._since
        self._since = now

    def started(self) -> None:
        """Charge what comes next, where it has no name, to the rest."""
        self.charge()
        self._going_on[0] = "the rest"

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function whose seconds are charged."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return timed


TRACES: list[Trace] = []


class FirstStep:
    """Says when the first step begins, and ends the process."""

    def __new__(cls) -> Any:
        """Return the callback; Lightning is imported by then."""
        import pytorch_lightning as pl

        class Callback(pl.Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                said = {"at": time.time()}
                for trace in TRACES:
                    trace.charge()
                    said |= trace.seconds
                print(MARK + json.dumps(said), flush=True)
                os._exit(0)

        return Callback()


class Composed:
    """Says when a configuration is composed, checked and its callbacks built; ends the process.

    Args:
        path: File that takes the time.
    """

    def __new__(cls, path: str) -> Any:
        """Write the time."""
        Path(path).write_text(repr(time.time()))
        os._exit(0)


def owner(dotted: str) -> tuple[Any, str]:
    """Return the module or class that holds a name, and the name.

    Raises:
        ModuleNotFoundError: If no part of it is a module.
        AttributeError: If a module has no such class.
    """
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 1, -1):
        with suppress(ModuleNotFoundError):
            module = importlib.import_module(".".join(parts[:cut]))
            return reduce(getattr, parts[cut:-1], module), parts[-1]
    return importlib.import_module(parts[0]), parts[-1]


def main() -> None:
    """Import, wrap, and run the command."""
    import benchmarks.startup_trace as named  # where the callback of the configuration looks

    trace = Trace(float(sys.argv.pop(1)))
    named.TRACES.append(trace)
    trace.started()
    for module in IMPORTS:
        with trace.part(f"importing {module}, and what it needs"):
            importlib.import_module(module)
    with trace.part("the clocks themselves"):
        for dotted, said in WRAPPED.items():
            place, name = owner(dotted)
            setattr(place, name, trace.around(getattr(place, name), said))
    from distill_lab.cli import main as lab

    lab()


if __name__ == "__main__":
    main()
