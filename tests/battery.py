"""What is put into every key and every file, and what must come of it."""

from __future__ import annotations

import copy
import io
import json
import math
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill_lab.config import check, conf_dir, plain
from distill_lab.errors import UsageError
from distill_lab.folders import entry_folders
from distill_lab.hydra_entry import register_schema
from distill_lab.run import run
from distill_lab.store import damage
from distill_lab.values import leaves

VALUES: dict[str, Any] = {
    "word": "wordxyz",
    "negative": -1,
    "zero": 0,
    "many": 2**31,
    "huge": 10**18,
    "huge float": 1e300,
    "nan": math.nan,
    "inf": math.inf,
    "half": 1.5,
    "below 0": -0.5,
    "empty": "",
    "null": None,
    "true": True,
    "list": [1, "x"],
    "no list": [],
    "names": {"a": "b"},
    "nested": [[{}]],
    "long": "x" * 4000,
    "long file": "y" * 3000 + ".csv",
    "letters": "Ünïcødé 中",
    "nul": "a\0b",
    "surrogate": "a\udcffb",
    "elsewhere": "../../../etc/passwd",
    "root": "/etc/passwd",
    "files": ["/nonexistent", "../../x"],
}
SECONDS = 240  # after which a case hangs
MOST = 2 * 2**30  # bytes that a case may add to what this process has taken at most


class Hangs(BaseException):
    """Not caught by anything that a run catches."""


@dataclass
class Outcome:
    """How cases ended."""

    refused: int = 0
    worked: int = 0
    faults: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return self.refused + self.worked + len(self.faults)


def composed(line: Sequence[str]) -> DictConfig:
    register_schema()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose("train", overrides=list(line))


def keys(config: DictConfig, groups: Sequence[str]) -> list[str]:
    """Every key of some groups that holds a value."""
    inside = OmegaConf.masked_copy(config, [str(name) for name in config if name in groups])
    found = leaves(OmegaConf.to_container(inside, resolve=False))
    return [key for key in found if not key.endswith("_target_")]


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def end(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def put(config: DictConfig, key: str, value: Any) -> DictConfig | None:
    """The configuration with one value; None where Hydra itself refuses it."""
    changed = copy.deepcopy(config)
    try:
        OmegaConf.update(changed, key, value, merge=True)
    except OmegaConfBaseException:
        return None
    return changed


def judged(go: Callable[[], Path], name: str, outcome: Outcome) -> None:
    """Let one case run to its end, and note what it must not do."""
    said, error, before = io.StringIO(), "", _peak()
    try:
        with limited(), at_most(SECONDS), redirect_stderr(said), redirect_stdout(said):
            error = _unfinished(go())
            outcome.worked += not error
    except UsageError as refused:
        lines = str(refused).splitlines()
        outcome.said.append(f"{name}: {refused}")
        error = "" if lines and all(line.strip() for line in lines) else "nothing is said"
        error = error or ("it says a page" if max(map(len, lines)) > 6000 else "")
        outcome.refused += not error
    except Hangs:
        error = f"it hangs\n{traceback.format_exc()[-1500:]}"
    except Exception as other:
        error = f"{other!r:.200}\n{traceback.format_exc()[-1500:]}"
    if not error and _peak() > before + MOST:
        error = f"it takes {(_peak() - before) / 2**30:.1f} GiB"
    if error:
        outcome.faults.append(f"{name}: {error}")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of this process so far


@contextmanager
def limited() -> Iterator[None]:
    """Let a case that takes memory without end fail, before the machine does."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 4 * MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _unfinished(folder: Path) -> str:
    def refuse(number: str) -> float:
        raise ValueError(f"{number} in result.json")

    try:
        result = json.loads((folder / "result.json").read_text(), parse_constant=refuse)
    except (OSError, ValueError) as error:
        return f"it ended well without a result ({error})"
    return "" if result["status"] == "finished" else "it did not finish"


def started(config: DictConfig | None, folder: Path) -> Path:
    """What `distill-lab train` does after Hydra."""
    if config is None:
        raise UsageError("Hydra refuses it")
    ready = plain(config)
    check(ready)
    run(ready, folder)
    return folder


def damaged(content: bytes, random: np.random.Generator) -> Mapping[str, bytes]:
    """A file in many ways that it must not be."""
    length = len(content)

    def flipped(count: int) -> bytes:
        changed = bytearray(content)
        for at in random.integers(0, length, count):
            changed[at] ^= int(random.integers(1, 256))
        return bytes(changed)

    found = {f"cut at {at}": content[:at] for at in sorted(random.integers(1, length, 8).tolist())}
    found |= {f"{count} flips, {turn}": flipped(count) for count in (1, 4, 40) for turn in range(4)}
    start, stop = sorted(random.integers(0, length, 2).tolist())
    return found | {
        "empty": b"",
        "binary": random.bytes(500),
        "zeros": bytes(length),
        "null inside": content[:start] + b"\0" * 8 + content[start:],
        "hole": content[:start] + content[stop:],
        "twice": content + content,
        "UTF-16": content.decode("latin-1").encode("utf-16"),
        "deep list": b"[" * 100_000,
        "deep object": b'{"a":' * 100_000,
        "a number": b"1" * 5000,
        "null": b"null",
        "a list": b"[1, 2]\n",
        "a line": b'{"text": [{}], "label": {"a": 1}, "data": 3}\n' * 3,
    }


def store_of(root: Path) -> dict[str, bytes]:
    """What a store holds, all of it undamaged and without left-overs."""
    assert not list(root.rglob("*.tmp"))
    assert not [damage(entry) for entry in entry_folders(root) if damage(entry)]
    return {
        str(path): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }
