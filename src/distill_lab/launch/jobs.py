"""The jobs of a sweep: what each is called, where it lies, whether it has been done."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from distill_lab.store import digest

ERROR_FILE = "error.txt"
SUBDIR = "hydra.sweep.subdir"
CONSOLE_FILE = "console.log"
_LONGEST_NAME = 120
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
    """

    number: int
    overrides: tuple[str, ...]
    names: tuple[str, ...]
    folder: Path
    flags: tuple[str, ...]
    config: DictConfig

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
        result = self.folder / "result.json"
        return result.is_file() and _typed(self.folder) == sorted(own(self.overrides))

    def score(self) -> float | None:
        """Return the main metric of its student on the evaluation split; None if it was pruned."""
        result = self.result()
        value = result["metrics"].get("student", {}).get(result["metric"])
        return None if value is None else float(value)

    def result(self) -> dict[str, Any]:
        """Return what its `result.json` holds."""
        content: dict[str, Any] = json.loads((self.folder / "result.json").read_text("utf-8"))
        return content

    def failed(self, reason: str) -> None:
        """Keep why it ended, unless it has told by itself."""
        file = self.folder / ERROR_FILE
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(reason + "\n", encoding="utf-8")

    def reason(self) -> str:
        """Return the last line of its `error.txt`: a sentence, or the error of a traceback."""
        return last_error(self.folder) or "it left no error"


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
    before = _typed(folder)
    if before is None or before == sorted(overrides):
        return folder
    return folder.with_name(f"{folder.name}-{digest(sorted(overrides))[:8]}")


def _typed(folder: Path) -> list[str] | None:
    """Return what was typed for a folder's job, None if it has none."""
    file = folder / ".hydra" / "overrides.yaml"
    if not file.is_file():
        return None
    # As typed: an interpolation means nothing here.
    typed = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return sorted(map(str, typed or []))


def quoted(value: Path | str) -> str:
    """Return a path or text as the value of an override."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
