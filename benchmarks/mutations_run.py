"""What the tests say of a mutant, found in a process of its own.

The parent has imported what takes long, but nothing of `distill_lab`. Each process is forked from
it, gets the mutated source in place of one module, and only then imports the package and its tests.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

import pytest

from benchmarks.mutations_find import Mutant

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src/distill_lab/objectives"
TESTS = ROOT / "tests/objectives"
SLOW = "two_processes or lightning_accumulates"
"""Tests that start processes or a trainer; those that take the fixture `lab` train models too."""
HEAVY = (
    "torch",
    "transformers",
    "pytorch_lightning",
    "datasets",
    "torchmetrics",
    "pandas",
    "hydra",
)
REDUNDANT = ("one fill", "class fill", "detach")
"""Kinds of which one may change nothing, because another mask settles the same."""
T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        outcome: "killed" by an assertion; "redundant", see `behaviour`; or "survived", "crashed"
            (something else than an assertion failed, which proves nothing), "no answer".
        by: The first test that fails, or why nothing can be said.
    """

    outcome: str
    by: str = ""

    @property
    def good(self) -> bool:
        """Whether the tests pass theirs."""
        return self.outcome in ("killed", "redundant")


class Watch:
    """A plugin of pytest: leaves out what trains, keeps the first failure."""

    def __init__(self) -> None:
        self.test = ""
        self.error = ""
        self.message = ""
        self.count = 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out the tests that train models."""
        items[:] = [item for item in items if "lab" not in item.fixturenames]

    def pytest_collection_finish(self, session: Any) -> None:
        """Count the tests that are left."""
        self.count = len(session.items)

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        """Keep the first failure."""
        if not self.test:
            self.test = node.nodeid.removeprefix(f"{TESTS.relative_to(ROOT)}/")
            self.error = call.excinfo.typename
            self.message = call.excinfo.exconly()


class Mutated(MetaPathFinder):
    """Gives another source for one module."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return a spec for the one module."""
        if name != self.module:
            return None
        loader = _Loader(name, str(self.path))
        loader.source = self.source
        return spec_from_file_location(name, self.path, loader=loader)


class _Loader(SourceFileLoader):
    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def warm() -> None:
    """Import what every process needs, so that none has to."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    for name in HEAVY:
        importlib.import_module(name)


def tests() -> tuple[int, Watch]:
    """Run the tests up to the first failure; return pytest's exit code and what was seen."""
    watch = Watch()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", f"not ({SLOW})", f"--rootdir={ROOT}"]
    code = pytest.main([*options, str(TESTS)], plugins=[watch])
    return int(code), watch


def behaviour(draws: int = 20) -> str:
    """Return a hash of value and gradients, the teacher's too, of each case in the tests' tables.

    Args:
        draws: Random inputs of each case, of ordinary size and of thirty times that.
    """
    found = hashlib.sha256()
    for seed in range(draws):
        for scale in (1.0, 30.0):
            for value, inputs in _values(seed, scale):
                value.backward()
                found.update(value.detach().numpy().tobytes())
                for place, tensor in enumerate(inputs):
                    if tensor.grad is not None:
                        found.update(place.to_bytes(1, "big") + tensor.grad.numpy().tobytes())
    return found.hexdigest()


def _values(seed: int, scale: float) -> Iterator[tuple[Any, list[Any]]]:
    outer = importlib.import_module("tests.objectives.cases")
    for case in outer.CASES.values():
        student, teacher, labels = outer.draw(seed=seed)
        inputs = [(scale * logits).requires_grad_() for logits in (student, teacher)]
        yield outer.soft_part(case, *inputs, labels), inputs
    inner = importlib.import_module("tests.objectives.inner_cases")
    for case in inner.CASES.values():
        ours, theirs = (
            {part: scale * value for part, value in inner.layer(seed + side).items()}
            for side in (0, 100)
        )
        inputs = [value.requires_grad_() for value in (*ours.values(), *theirs.values())]
        yield case.distance(ours, theirs, inner.MASK), inputs


def apart(job: Callable[[], T], mutant: Mutant | None, limit: float) -> T | None:
    """Run a job in a process where one module is mutated.

    Args:
        job: What is run; its result must be picklable.
        mutant: The mutation; None for the code as it is.
        limit: Seconds that it may take.

    Returns:
        The result, or None if it is not there in time or the process died.
    """
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(job, mutant, sending))
    process.start()
    sending.close()
    try:
        found: T | None = receiving.recv() if receiving.poll(limit) else None
    except EOFError:
        found = None
    finally:
        process.kill()
        process.join()
        receiving.close()
    return found


def _child(job: Callable[[], object], mutant: Mutant | None, sending: Connection) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.path.insert(0, str(ROOT))
    if mutant:
        path = SOURCES / mutant.file
        source = mutant.applied(path.read_text(encoding="utf-8"))
        sys.meta_path.insert(0, Mutated(mutant.module, path, source))
    sending.send(job())


@functools.cache
def unmutated(limit: float) -> str | None:
    """Return the behaviour of the code as it is."""
    return apart(behaviour, None, limit)


def judged(mutant: Mutant, limit: float) -> Verdict:
    """Return what the tests say of a mutant.

    Args:
        mutant: What is changed.
        limit: Seconds that the tests may take.
    """
    answer = apart(tests, mutant, limit)
    if answer is None:
        return Verdict("no answer", f"in {limit:g} s")
    code, watch = answer
    if code == 1 and watch.error in ("AssertionError", "Failed"):
        return Verdict("killed", watch.test)
    if code != 0:
        return Verdict("crashed", f"{watch.test}: {watch.message}")
    if mutant.kind in REDUNDANT and apart(behaviour, mutant, limit) == unmutated(limit):
        return Verdict("redundant", "bit-equal on all draws")
    return Verdict("survived")
