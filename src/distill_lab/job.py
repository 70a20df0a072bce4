"""One job: a composed configuration is run, and a failure leaves its error."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill_lab.config import Config
from distill_lab.errors import ConfigError, JobsFailed, OthersGone, UsageError
from distill_lab.launch.folder_lock import HELD, inherit, is_further_rank
from distill_lab.launch.jobs import ERROR_FILE, quoted
from distill_lab.launch.orphans import end_with_starter


def run_job(config: Config, out_dir: Path, state: Any, typed: list[str]) -> Any:
    """Run what was composed, in as many processes as it asks for, and show the comparison.

    Args:
        config: Plain values.
        out_dir: The run's own folder.
        state: Hydra's, which knows the choices.
        typed: What followed `distill-lab train`.

    Returns:
        The student's main metric; None where another process has it.

    Raises:
        UsageError: As `run`.
        JobsFailed: If one of several processes failed.
    """
    from distill_lab import ranks
    from distill_lab.parts import look_at
    from distill_lab.quiet import quiet_libraries
    from distill_lab.results import Provenance
    from distill_lab.results.result import FINISHED
    from distill_lab.results.show import show_run
    from distill_lab.run import run

    quiet_libraries()
    if config.launch.dry_run:
        raise ConfigError("launch.dry_run=true: type it on the command line, or with -m")
    if not ranks.comes_first():
        logging.getLogger().setLevel(logging.WARNING)
    if ranks.started():
        end_with_starter()
        if HELD in typed and ranks.comes_first():
            inherit(out_dir)
    if _may_be_several(config) and not ranks.started():
        parts, _ = look_at(config)
        if parts.processes > 1:
            return _run_together(config, parts, out_dir, typed)
    chosen = {
        name: str(choice)
        for name, choice in state.runtime.choices.items()
        if choice is not None and not name.startswith("hydra/")
    }
    result = run(config, out_dir, Provenance(chosen, list(state.overrides.task)))
    if result.status == FINISHED and ranks.comes_first():
        show_run(result, out_dir)
    return result.main("student")


def _may_be_several(config: Config) -> bool:
    """Whether Lightning has to be asked how many processes it would use."""
    return config.trainer.get("devices", "auto") not in (1, "1")


def _run_together(config: Config, parts: Any, out_dir: Path, typed: list[str]) -> None:
    """Start the processes that train together, in the folder of this run.

    Raises:
        UsageError: As `run`, before they are started.
        JobsFailed: If one of them failed.
    """
    from distill_lab.launch.starting import start_together
    from distill_lab.parts import Reader
    from distill_lab.store import Store

    logging.disable(logging.INFO)  # the first of them tells
    Reader(Store(config.store_dir)).plan(config, parts)
    place = [f"hydra.run.dir={quoted(out_dir)}", "hydra.mode=RUN", HELD]
    code = start_together(parts.processes, [*typed, *place])
    if code:
        reason = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        raise JobsFailed(f"one of {parts.processes} processes failed ({reason})")


class Recorded:
    """Leaves `error.txt` in the folder of a run that fails."""

    def __init__(self, out_dir: Path) -> None:
        self.file = out_dir / ERROR_FILE

    def __enter__(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        if self._told(error):
            return
        text = (
            str(error)
            if isinstance(error, (UsageError, JobsFailed))
            else "".join(traceback.format_exception(error))
        )
        with suppress(OSError):  # a full disk, which the error itself tells of
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(text + "\n", encoding="utf-8")

    def _told(self, error: BaseException) -> bool:
        """Whether another process of this run has told the cause, or will."""
        if is_further_rank() and not self.file.parent.is_dir():
            return True  # torchrun's; its folder is not that of the run
        try:
            before = self.file.read_text(encoding="utf-8")
        except OSError:
            return False
        return isinstance(error, OthersGone) or OthersGone.SAID not in before
