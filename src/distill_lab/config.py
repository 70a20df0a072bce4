"""Configuration: the root schema, the check before anything is loaded, the one `instantiate`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill_lab.errors import ConfigError, UsageError, did_you_mean, first_line
from distill_lab.folders import leads_out
from distill_lab.secret_values import secrets_in
from distill_lab.signatures import Node, faults_of
from distill_lab.values import leaves


@dataclass
class Launch:
    """How jobs are launched; changes nothing of what they learn."""

    dry_run: bool = False
    """Print what the line would do, with an estimate of time and disk, and do nothing."""


@dataclass
class Config:
    """The root of a run's configuration; groups are plain dicts that name their `_target_`."""

    study: str = "default"
    """Name of the study: folder of its runs, group of its W&B runs."""
    seed: int = 1
    """Fixes data order, initialisation and dropout of student and baseline."""
    baseline: bool = True
    """Whether the same student is also trained without the teacher (or found in the store)."""
    store_dir: str = "store"
    """Where fine-tuned teachers and baselines are kept for later runs."""
    workers: int = 0
    """Processes that put batches together while the device computes; 0: the training itself."""
    recipe: Node = field(default_factory=dict)
    """What is known to work on the task; `optim`, `trainer` and `teacher` read it."""
    task: Node = field(default_factory=dict)
    teacher: Node = field(default_factory=dict)
    student: Node = field(default_factory=dict)
    objective: Node = field(default_factory=dict)
    optim: Node = field(default_factory=dict)
    trainer: Node = field(default_factory=dict)
    callbacks: Node = field(default_factory=dict)
    logger: Node = field(default_factory=dict)
    launch: Launch = field(default_factory=Launch)


GROUPS = ("task", "teacher", "student", "objective", "optim", "trainer", "callbacks", "logger")
# What becomes part of the path of a file in the run's folder, or of that folder.
_NAMED = re.compile(r"study|logger\.\w+\.(name|version|prefix|sub_dir)|callbacks\.\w+\.filename")
_SEEDS = 2**32  # of NumPy
_WORKERS = 64
_BY_NAME = ("callbacks", "logger")  # groups that hold several nodes by name


def conf_dir() -> Path:
    """Return the folder of the shipped configuration: in the wheel, else in the checkout."""
    return _shipped("conf")


def experiments_dir() -> Path:
    """Return the folder of the shipped studies: in the wheel, else in the checkout."""
    return _shipped("experiments")


def _shipped(name: str) -> Path:
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parents[2] / name


def schema() -> DictConfig:
    """Return the typed root; its groups are open, so that `check` can name what is misspelt."""
    node: DictConfig = OmegaConf.structured(Config)
    for name in ("recipe", *GROUPS):
        OmegaConf.set_struct(node[name], False)
    return node


def plain(composed: DictConfig) -> Config:
    """Resolve a composed configuration into plain values; Hydra's own part is left out.

    Raises:
        ConfigError: If an interpolation fails or a mandatory value is missing.
    """
    composed = OmegaConf.masked_copy(composed, [str(k) for k in composed if k != "hydra"])
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise ConfigError([f"{key}: no value is given and there is no default" for key in missing])
    try:
        content = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'!s}: {first_line(error)}") from error
    assert isinstance(content, dict)
    known = {item.name for item in fields(Config)}
    extra = [
        f"{key}: not a key of the configuration{did_you_mean(key, known)}"
        for key in map(str, content)
        if key not in known
    ]
    if extra:
        raise ConfigError(extra)
    for name in _BY_NAME:  # null switches a callback or logger off
        content[name] = {key: node for key, node in content[name].items() if node is not None}
    content["launch"] = Launch(**content["launch"])
    return Config(**{str(key): value for key, value in content.items()})


def check(config: Config) -> None:
    """Hold every `_target_` against the signature it calls.

    Nothing is loaded or built.

    Raises:
        ConfigError: With all faults found: unknown parameters ("did you mean"), missing ones,
            values of a wrong type, targets that do not exist.
    """
    if faults := [fault for found in faults_by_group(config).values() for fault in found]:
        raise ConfigError(faults)


def faults_by_group(config: Config) -> dict[str, list[str]]:
    """Return what `check` refuses by the group in which it stands; "" for what is of none."""
    content = asdict(config)
    by_group = {"": secrets_in(content)} | {name: list[str]() for name in GROUPS}
    by_group[""] += [f"seed={config.seed}: 0 or more"] if config.seed < 0 else []
    if not 0 <= config.workers <= _WORKERS:
        by_group[""] += [f"workers={config.workers}: 0 to {_WORKERS}"]
    for key, value in leaves(content).items():
        faults = by_group.get(key.partition(".")[0], by_group[""])
        if key.rpartition(".")[2] == "seed" and isinstance(value, int) and value >= _SEEDS:
            faults += [f"{key}={value}: below 2^32 is needed"]
        if _NAMED.fullmatch(key) and isinstance(value, str) and leads_out(value):
            faults += [f"{key}={value}: a name is needed, which leads to no other folder"]
    for name in GROUPS:
        targets = _targets(getattr(config, name), name)
        by_group[name] += [fault for path, node in targets for fault in faults_of(path, node)]
        if name not in _BY_NAME and "_target_" not in getattr(config, name):
            by_group[name].append(f"{name}: has no _target_; choose one with {name}=NAME")
    return by_group


def build(node: Mapping[str, Any], **objects: Any) -> Any:
    """Instantiate one checked node; the only place that does.

    Args:
        node: A mapping with `_target_`.
        **objects: Further keyword arguments that only exist at run time.

    Raises:
        UsageError: If the object refuses a value.
        Exception: What else it raises, as it is: a fault of the object keeps its traceback.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(dict(node), _convert_="all", **objects)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UsageError):
            raise _of_part(cause, str(error)) from None
        if cause is None:
            raise
        raise cause from cause.__cause__


def _of_part(error: UsageError, said: str) -> UsageError:
    """Let an error of an object inside another name its whole key.

    Args:
        error: Names a key of its group, as `objective.lam`.
        said: Hydra's message, whose last line tells where the object stands, as `parts.soft`.
    """
    inside = re.search(r"^full_key: (\S+)$", said, flags=re.MULTILINE)
    if inside is None or not isinstance(error, ConfigError):
        return error
    return ConfigError(
        re.sub(r"^(\w+)\.(?=\w+[=:])", rf"\1.{inside[1]}.", fault) for fault in error.faults
    )


def _targets(node: Any, path: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node, list):
        for place, child in enumerate(node):
            yield from _targets(child, f"{path}[{place}]")
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        yield path, node
    for key, child in node.items():
        yield from _targets(child, f"{path}.{key}")
