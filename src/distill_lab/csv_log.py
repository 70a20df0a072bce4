"""`metrics.csv`, which a run that goes on continues without gaps or doubles."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from distill_lab.store import write_atomically


class _Writer(ExperimentWriter):
    """Appends to the file that is there; Lightning's deletes it."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        file = Path(self.metrics_file_path)
        if file.is_file():
            with file.open(newline="", encoding="utf-8") as opened:
                self.metrics_keys = next(csv.reader(opened), [])

    def _check_log_dir_exists(self) -> None:
        """Leave the file; `CsvLog` has deleted that of another try."""


class CsvLog(CSVLogger):
    """Lightning's logger of `metrics.csv`, which can go on after a mark.

    Args:
        save_dir: Folder of the file.
        name: Folder below it, empty for none.
        version: Folder below that, empty for none.
        prefix: Before each name.
        flush_logs_every_n_steps: Steps between two times that it is written.
    """

    def __init__(
        self,
        save_dir: str | Path,
        name: str = "",
        version: str = "",
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix, flush_logs_every_n_steps)
        self._last = 0

    @property
    def _file(self) -> Path:
        return Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take one line of values.

        Args:
            metrics: By name.
            step: Of the optimizer; None for the last one that was told.
        """
        if self._experiment is None:
            self._begin(keep=False)
        self._last = self._last if step is None else step
        super().log_metrics(metrics, self._last)

    def mark(self) -> int:
        """Write what is pending and return how many lines there are, the heading left out."""
        if self._experiment is None or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return 0
        self.save()
        if not self._file.is_file():
            return 0
        with self._file.open(newline="", encoding="utf-8") as file:
            os.fsync(file.fileno())
            return sum(1 for _ in csv.reader(file)) - 1

    @rank_zero_only
    def go_on(self, mark: int) -> None:
        """Forget the lines after a mark.

        Args:
            mark: How many lines to keep.
        """
        lines = self._file.read_text("utf-8").splitlines(keepends=True) if mark else []
        if lines:
            write_atomically(self._file, "".join(lines[: mark + 1]))
            self._last = int(list(csv.DictReader(lines[: mark + 1]))[-1]["step"])
        self._begin(keep=bool(mark))

    def _begin(self, keep: bool) -> None:
        if not keep:
            self._file.unlink(missing_ok=True)
        self._experiment = _Writer(self.log_dir)
