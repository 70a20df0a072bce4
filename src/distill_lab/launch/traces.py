"""What a line leaves that was refused, or was only to tell what it would do: nothing."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from distill_lab.launch.jobs import CONFIG_FILE

SWEEP_FILE = "multirun.yaml"  # by Hydra, before the jobs of a sweep are known


@dataclass
class Traces:
    """What Hydra writes before we are asked, as it was.

    Attributes:
        runs: Folders of single runs that were made for this line.
        sweeps: What stood in the files that Hydra writes of sweeps; None where there was none.
    """

    runs: list[Path] = field(default_factory=list)
    sweeps: dict[Path, bytes | None] = field(default_factory=dict)

    def of_run(self, folder: Path) -> None:
        """Note the folder of a run; one that was there is not a trace."""
        if not folder.exists():
            self.runs.append(folder)

    def of_sweep(self, folder: Path) -> None:
        """Note what stands in the folder of a sweep."""
        with suppress(OSError):
            file = folder / SWEEP_FILE
            self.sweeps[file] = file.read_bytes() if file.is_file() else None

    def remove(self) -> None:
        """Leave the folders as they were, but for runs that have begun."""
        with suppress(OSError):  # of the disk, which is told of elsewhere
            for folder in self.runs:
                if folder.is_dir() and not (folder / CONFIG_FILE).exists():
                    shutil.rmtree(folder)
                    _remove_empty(folder.parent)
            for file, before in self.sweeps.items():
                if before is None:
                    file.unlink(missing_ok=True)
                    _remove_empty(file.parent)
                elif file.is_file():
                    file.write_bytes(before)
        self.forget()

    def forget(self) -> None:
        """Begin another line."""
        self.runs.clear()
        self.sweeps.clear()


TRACES = Traces()  # of this process, whose callbacks Hydra makes


def _remove_empty(folder: Path) -> None:
    """Remove a folder if nothing lies in it, and those above it that it was alone in."""
    here = Path.cwd()
    for each in (folder, *folder.parents):
        if here not in each.absolute().parents:
            return
        with suppress(OSError):
            each.rmdir()
