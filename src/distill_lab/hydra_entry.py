"""`distill-lab train`: Hydra composes, `run` runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from distill_lab.config import GROUPS, Config, check, conf_dir, plain, schema
from distill_lab.disk import refusal
from distill_lab.errors import ConfigError, FolderInUse, JobsFailed, UsageError
from distill_lab.hydra_errors import sentences
from distill_lab.job import Recorded, run_job
from distill_lab.launch.folder_lock import FolderTaken, is_further_rank
from distill_lab.launch.going_on import going_on
from distill_lab.launch.jobs import without_launching
from distill_lab.launch.traces import TRACES
from distill_lab.secret_values import refuse_kept, refuse_typed
from distill_lab.store import digest
from distill_lab.suggestions import key_hint
from distill_lab.train_help import choices, train_help

_VERSION = "1.3"  # to be left out from Hydra 1.4 on
_MULTIRUN = ("-m", "--multirun")
# Where jobs run, more trials, or more of them at a time, do not make another study.
_HOW_MUCH = re.compile(r"[+~]*hydra([./]launcher[.=]|\.sweeper\.n_)")
_DRY = re.compile(r"[+]*launch\.dry_run=(true|yes|on|1)$", re.IGNORECASE)
_SHOW = ("--cfg", "-c", "--info", "-i")


def register_schema() -> None:
    """Make the typed root known to Hydra; `conf/train.yaml` starts from it."""
    ConfigStore.instance().store("schema", schema())


def compose(*overrides: str) -> Config:
    """Compose a configuration without the command line, for notebooks and programs.

    Args:
        *overrides: What would be typed after `distill-lab train`.

    Returns:
        Plain values, checked; give them to `distill_lab.run.run`.

    Raises:
        UsageError: As `train`.
    """
    refuse_typed(overrides)
    _refuse_nothing(overrides)
    register_schema()
    with sentences(), hydra.initialize_config_dir(str(conf_dir()), version_base=_VERSION):
        config = plain(hydra.compose("train", overrides=list(overrides)))
    check(config)
    return config


def train(arguments: Sequence[str]) -> int:
    """Compose and run what was typed.

    Args:
        arguments: Overrides and Hydra's flags.

    Returns:
        The exit code: 0, or 1 when a job of a sweep failed.

    Raises:
        UsageError: For every error of use.
    """
    if any(flag in arguments for flag in ("--help", "-h")):
        print(train_help(), end="")
        return 0
    refuse_typed(arguments)
    _refuse_flags(arguments)
    if any(a in _SHOW for a in arguments) and any(a in _MULTIRUN for a in arguments):
        raise ConfigError("--cfg and --info show the configuration of one run; leave out -m")
    if not _is_dry(arguments) and not any(a in (*_MULTIRUN, *_SHOW) for a in arguments):
        arguments = going_on(arguments)
    _refuse_nothing(arguments)
    _tell_twice(arguments)
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's errors come here, and leave as one sentence
    TRACES.forget()
    typed = list(sys.argv)
    entry = hydra.main(version_base=_VERSION, config_path=str(conf_dir()), config_name="train")
    sys.argv = [typed[0], *_named_sweep([*_multirun_first(arguments), *_of_further_rank()])]
    try:
        with sentences():
            entry(_job(typed, begun := list[Path](), refused := list[UsageError | JobsFailed]()))()
        if refused:
            raise refused[0]
    except UsageError:
        TRACES.remove()
        raise
    except FolderTaken as taken:
        raise FolderInUse(str(taken)) from None
    except (OSError, ValueError) as error:  # the latter where it is the log file
        told = refusal(error, begun[-1] if begun else None, "hydra.run.dir")
        if told is None:
            raise
        raise told from error
    finally:
        sys.argv = typed
    if _is_dry(arguments):
        TRACES.remove()
    return 0


def _refuse_nothing(overrides: Sequence[str]) -> None:
    """Refuse null as a choice, which Hydra only means for optional groups.

    Raises:
        ConfigError: If a group is null.
    """
    for key, _, value in (override.lstrip("+").partition("=") for override in overrides):
        if key in GROUPS and value == "null":
            there = ", ".join(choices(conf_dir() / key))
            raise ConfigError(
                f"{key}=null: name a choice (there are {there}); what a choice holds is switched"
                " off by its key, as in callbacks.progress=null"
            )


def _tell_twice(arguments: Sequence[str]) -> None:
    """Say which of two values of a key counts; Hydra takes the last one without a word."""
    last: dict[str, str] = {}
    for override in filter(_is_override, arguments):
        key = override.lstrip("+").partition("=")[0]
        if last.get(key, override) != override:
            print(f"distill-lab: {key} is typed twice; {override} counts", file=sys.stderr)
        last[key] = override


def _refuse_flags(arguments: Sequence[str]) -> None:
    """Refuse flags that Hydra has not, for which it would print its usage.

    Raises:
        ConfigError: If there is one.
    """
    flags = [a.partition("=")[0] for a in arguments if a.startswith("-")]
    known = {name for each in get_args_parser()._actions for name in each.option_strings}
    faults = [f"{flag}: no such flag{_as_key(flag)}" for flag in flags if flag not in known]
    if faults:
        raise ConfigError(faults)


def _as_key(flag: str) -> str:
    """Return how a key is typed that somebody takes for a flag."""
    key = flag.lstrip("-").replace("-", "_")
    return f"; a key is typed without dashes{key_hint(key) or f', as in {key}=VALUE'}"


def _of_further_rank() -> list[str]:
    """Keep processes that train together with a first one from writing its files."""
    if not is_further_rank():
        return []
    return ["hydra.output_subdir=null", "hydra/job_logging=none"]


def _named_sweep(arguments: Sequence[str]) -> list[str]:
    """Give a sweep without a name one that the same line gives again; studies name themselves."""
    several = any(flag in arguments for flag in _MULTIRUN)
    if _is_dry(arguments) and not several and not _varies(arguments):
        return ["-m", *arguments]  # a sweep of one job makes no folder
    keys = [argument.lstrip("+").partition("=")[0] for argument in arguments]
    named = "study" in keys or "experiments" in keys
    if named or not several:
        return list(arguments)
    given = without_launching([a for a in arguments if a not in _MULTIRUN])
    overrides = sorted(a for a in given if not _HOW_MUCH.match(a))
    # Beside the other overrides: argparse wants them in one piece.
    first = next((i for i, a in enumerate(arguments) if _is_override(a)), len(arguments))
    study = f"study=sweep-{digest(overrides)[:8]}"
    return [*arguments[:first], study, *arguments[first:]]


def _varies(arguments: Sequence[str]) -> bool:
    """Whether some override has several values, which without -m Hydra refuses of a run."""
    typed = [argument for argument in arguments if _is_override(argument)]
    return any(one.is_sweep_override() for one in OverridesParser.create().parse_overrides(typed))


def _multirun_first(arguments: Sequence[str]) -> list[str]:
    """Let `-m` stand among the overrides, which argparse wants in one piece."""
    flags = [a for a in arguments if a in _MULTIRUN]
    return [*flags[:1], *(a for a in arguments if a not in _MULTIRUN)]


def _is_dry(arguments: Sequence[str]) -> bool:
    return any(_DRY.match(argument) for argument in arguments)


def _is_override(argument: str) -> bool:
    return "=" in argument and not argument.startswith("-")


def _job(
    typed: list[str], begun: list[Path], refused: list[UsageError | JobsFailed]
) -> Callable[[DictConfig], Any]:
    """Return what Hydra calls for a job.

    Args:
        typed: The command line.
        begun: Takes the folders of jobs.
        refused: Takes what the program tells itself, which Hydra would announce in its own way.
    """

    def job(composed: DictConfig) -> Any:
        sys.argv = typed
        state = HydraConfig.get()
        out_dir = Path(state.runtime.output_dir)
        begun.append(out_dir)
        try:
            with Recorded(out_dir):
                config = plain(composed)
                refuse_kept([asdict(config)], out_dir / ".hydra")
                return run_job(config, out_dir, state, typed[2:])
        except (UsageError, JobsFailed) as error:
            refused.append(error)

    return job
