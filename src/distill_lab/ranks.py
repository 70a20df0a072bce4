"""Processes that train one model together: who is first, and what the others learn from it.

All ranks walk through a run side by side. What only one has to do is done by the first, which tells
the others; what the store keeps is computed by whoever has its lock, while the others wait for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only

from distill_lab.errors import ConfigError, OthersGone
from distill_lab.store import Store

T = TypeVar("T")
# How gloo, NCCL and the store where processes meet tell of one that is gone; errors of gloo have no
# type of their own.
_GONE = re.compile(
    r"Connection (?:was )?(?:closed|reset|refused)(?: by peer)?|Connection was likely closed"
    r"|Broken pipe|remote process exit\w*|failed to recv",
    re.IGNORECASE,
)
_PATIENCE = timedelta(days=2)  # the first may train a teacher while the others wait


def started() -> bool:
    """Whether torchrun or Slurm has started several processes for this run.

    Raises:
        ConfigError: If Slurm has in a way that does not tell how they are spread over machines, or
            has room for several and started one.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment().world_size() > 1
    try:
        several = SLURMEnvironment.detect() and SLURMEnvironment().world_size() > 1
    except RuntimeError as error:
        tasks = os.environ.get("SLURM_NTASKS")
        raise ConfigError(
            f"Slurm's --ntasks={tasks}: start the processes with --ntasks-per-node=N instead"
        ) from error
    if several and "SLURM_STEP_ID" not in os.environ:
        raise ConfigError(
            f"Slurm has given {os.environ['SLURM_NTASKS']} tasks, of which this process is the only"
            " one that was started: type srun before the line, or ask for one task"
        )
    return several


def comes_first() -> bool:
    """Whether this process is the first of those that were started, or alone."""
    return not started() or rank_zero_only.rank == 0  # type: ignore[attr-defined]


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that were started with this one; nothing where it is alone.

    Raises:
        OthersGone: If another one has ended while this one was waiting for it.
    """
    if not started() or dist.is_initialized():
        yield
        return
    slurm = None if TorchElasticEnvironment.detect() else SLURMEnvironment()
    if slurm is not None:
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}
    place = slurm or TorchElasticEnvironment()
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo",
            rank=place.global_rank(), world_size=place.world_size(), timeout=_PATIENCE,
        )  # fmt: skip
        yield
    except RuntimeError as error:
        told = told_of_others(error)
        if told is None:
            raise
        raise OthersGone(place.global_rank(), place.world_size(), told) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def told_of_others(error: BaseException | None) -> str | None:
    """Return what an error tells of a process that is gone, None if it tells of something else.

    Args:
        error: Looked at with its causes.
    """
    while error is not None:
        found = _GONE.search(str(error))
        if found and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            return found[0]
        error = error.__cause__
    return None


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if world() > 1 else 0


def by_first(make: Callable[[], T]) -> T:
    """Let the first process make something, and give it to all.

    Args:
        make: Called in the first process alone.
    """
    if world() == 1:
        return make()
    shared: list[T | None] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]  # type: ignore[return-value]


def gathered(value: T) -> list[T]:
    """Return the value of every process, in the order of their numbers."""
    if world() == 1:
        return [value]
    values: list[T | None] = [None] * world()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def together() -> None:
    """Wait until every process has come here."""
    gathered(None)


def kept(
    store: Store,
    kind: str,
    ingredients: Any,
    make: Callable[[Path], None],
    about: str,
    resumable: bool = False,
) -> tuple[Path, bool]:
    """Return an entry of the store that all processes make together when it is not there.

    Args:
        store: Where it is or will be.
        kind: As for `Store.get`.
        ingredients: As for `Store.get`; the same in all processes.
        make: Called in all of them with the same empty folder, which the first fills.
        about: What it is, for people.
        resumable: As for `Store.get`.
    """
    if world() == 1:
        return store.get(kind, ingredients, make, about, resumable=resumable)
    if rank() > 0:
        folder: Path | None = by_first(_not_here)
        if folder is not None:
            make(folder)
        together()
        return store.path(kind, ingredients), folder is None

    def lead(folder: Path) -> None:
        by_first(lambda: folder)
        make(folder)

    path, found = store.get(kind, ingredients, lead, about, resumable=resumable)
    if found:
        by_first(lambda: None)
    together()
    return path, found


def _not_here() -> Path | None:
    raise AssertionError("only the first process makes what is shared")
