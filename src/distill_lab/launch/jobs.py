"""The jobs of a sweep: what each is called, where it lies, whether it has been done."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from distill_lab import __version__
from distill_lab.config import Config
from distill_lab.store import digest
from distill_lab.values import leaves

CONFIG_FILE, ERROR_FILE, RESULT_FILE = "config.yaml", "error.txt", "result.json"
SUBDIR = "hydra.sweep.subdir"
CONSOLE_FILE = "console.log"
_LONGEST_NAME = 120
LATE = 15.0  # seconds that a result may take to be seen on a shared disk
TYPED = Path(".hydra", "overrides.yaml")
_NOT_COMPUTED = ("study", "store_dir", "logger", "launch")
_ABOUT_LAUNCHING = "launch."  # what is typed about launching does not make another job


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: Its place in the line, counted from 1.
        overrides: Everything that was typed, with this job's values.
        names: The overrides in which the line's jobs differ.
        folder: Where it runs.
        flags: Flags of the command line that it needs, such as a folder of configuration.
        config: As composed.
        since: When it was found to be unfinished, in seconds of `time.time`.
    """

    number: int
    overrides: tuple[str, ...]
    names: tuple[str, ...]
    folder: Path
    flags: tuple[str, ...]
    config: DictConfig
    since: float = 0.0

    @property
    def title(self) -> str:
        """What it is called in lines and tables."""
        return " ".join(self.names) or "without overrides"

    @property
    def arguments(self) -> list[str]:
        """What follows `distill-lab train` for it."""
        place = f"hydra.run.dir={quoted(self.folder)}"
        return [*self.flags, *self.overrides, place, "hydra.mode=RUN"]

    @property
    def finished(self) -> bool:
        """Whether its folder holds the result of the same overrides."""
        result = self.folder / RESULT_FILE
        return result.is_file() and typed_in(self.folder) == sorted(own(self.overrides))

    def changed(self, config: Config) -> list[str]:
        """Return the settings that its result was made with and that have other values now.

        Those that only one of the two has count, unless another version of the program made it.

        Args:
            config: Its configuration, resolved.
        """
        result = self.result()
        sides = result["config"], json.loads(json.dumps(asdict(config)))  # as it is read
        before, now = (
            leaves({k: v for k, v in side.items() if k not in _NOT_COMPUTED}) for side in sides
        )
        same = result["versions"].get("distill-lab") == __version__
        keys = before.keys() | now.keys() if same else before.keys() & now.keys()
        nothing = object()
        return sorted(k for k in keys if before.get(k, nothing) != now.get(k, nothing))

    def score(self) -> float | None:
        """Return the main metric of its student on the evaluation split; None if it was pruned."""
        result = self.result()
        value = result["metrics"].get("student", {}).get(result["metric"])
        return None if value is None else float(value)

    def result(self) -> dict[str, Any]:
        """Return what its `result.json` holds."""
        content: dict[str, Any] = json.loads((self.folder / RESULT_FILE).read_text("utf-8"))
        return content

    def left_result(self) -> bool:
        """Whether it has a result, which may take a while to be seen on a shared disk."""
        until = time.monotonic() + LATE
        while not (self.folder / RESULT_FILE).is_file():
            if time.monotonic() > until:
                return False
            time.sleep(0.2)
        return True

    def last_words(self) -> str:
        """Return what it told last of why it could not begin; empty where nothing is kept."""
        file = self.folder / CONSOLE_FILE
        own = file.is_file() and file.stat().st_mtime >= self.since
        lines = file.read_text("utf-8", "replace").splitlines() if own else []
        told = [line for line in lines if line.startswith("distill-lab: ")]
        return told[-1].removeprefix("distill-lab: ") if told else ""

    def failed(self, reason: str) -> None:
        """Keep why it ended, unless it has told by itself."""
        file = self.folder / ERROR_FILE
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(reason + "\n", encoding="utf-8")

    def reason(self) -> str:
        """Return the last line of its `error.txt`: a sentence, or the error of a traceback."""
        return last_error(self.folder) or "it left no error"


class Places:
    """Which folder of a sweep belongs to which job, whatever the line that it was typed in.

    Args:
        sweep_dir: Folder of the sweep.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir
        found = ((typed_in(file.parent.parent), file) for file in sweep_dir.glob(f"*/{TYPED}"))
        self._folders = {tuple(typed or []): file.parent.parent for typed, file in found}

    def of(self, names: Sequence[str], overrides: Sequence[str]) -> Path:
        """Return a job's folder: where it has been run, or one that no other job has.

        Args:
            names: The overrides in which the line's jobs differ.
            overrides: All of the job's overrides.
        """
        key = tuple(sorted(overrides))
        if key not in self._folders:
            folder = self.sweep_dir / job_name(names)
            if folder in self._folders.values():
                folder = _told_apart(folder, overrides)
            self._folders[key] = folder
        return self._folders[key]


def last_error(folder: Path) -> str:
    """Return the last line of a run's `error.txt`, an empty string where there is none."""
    file = folder / ERROR_FILE
    lines = file.read_text(encoding="utf-8").strip().splitlines() if file.is_file() else []
    return lines[-1] if lines else ""


def without_launching(overrides: Sequence[str]) -> list[str]:
    """Return what was typed, without that which concerns launching alone."""
    return [o for o in overrides if not o.lstrip("+~").startswith(_ABOUT_LAUNCHING)]


def own(overrides: Sequence[str]) -> list[str]:
    """Return a job's overrides without those of `hydra`, which say nothing of what it computes."""
    return [o for o in overrides if not re.match(r"[+~]*hydra[./]", o)]


def given_folder(overrides: Sequence[str], config: DictConfig) -> Path | None:
    """Return the folder that a sweeper chose for a job by `hydra.sweep.subdir`, else None."""
    if not any(override.startswith(f"{SUBDIR}=") for override in overrides):
        return None
    return Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)


def varying(job_overrides: Sequence[Sequence[str]]) -> set[str]:
    """Return the overrides in which the jobs differ, and none that all share."""
    shared = set(job_overrides[0]).intersection(*map(set, job_overrides))
    return {o for overrides in job_overrides for o in overrides} - shared


def job_name(overrides: Sequence[str]) -> str:
    """Return a folder name that tells a job's overrides; long ones end in a fingerprint."""
    text = ",".join(re.sub(r"[^\w.=+-]", "_", override.lstrip("+~")) for override in overrides)
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - 9]}-{digest(list(overrides))[:8]}"


def job_folder(sweep_dir: Path, names: Sequence[str], overrides: Sequence[str]) -> Path:
    """Return a job's folder; where another line's job has the name, a fingerprint is added.

    Args:
        sweep_dir: Folder of the sweep.
        names: The overrides in which the line's jobs differ.
        overrides: All of the job's overrides.
    """
    folder = sweep_dir / job_name(names)
    before = typed_in(folder)
    if before is None or before == sorted(overrides):
        return folder
    return _told_apart(folder, overrides)


def _told_apart(folder: Path, overrides: Sequence[str]) -> Path:
    return folder.with_name(f"{folder.name}-{digest(sorted(overrides))[:8]}")


def typed_in(folder: Path) -> list[str] | None:
    """Return what was typed for a folder's job, None if it has none.

    Raises:
        YAMLError: If its file is damaged.
    """
    file = folder / TYPED
    if not file.is_file():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a sweep may have thousands
    typed = yaml.load(file.read_bytes(), Loader=loader)
    return sorted(map(str, typed or []))


def quoted(value: Path | str) -> str:
    """Return a path or text as the value of an override."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
