"""`trainer.strategy=fsdp`: parameters, gradients and optimizer states divided among processes.

By `fully_shard` of torch (FSDP2; Zhao et al. 2023, arXiv 2304.11277), on GPUs and processors alike.
The "fsdp" of Lightning is the older one, which torch does not run on processors any more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from distill_lab.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)
NAME = "fsdp"


class Sharded(ModelParallelStrategy):
    """Divides what `configure_model` of the module names; checkpoints are whole, in one file."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Divide among all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    @property
    def mesh(self) -> DeviceMesh:
        """The processes among which is divided."""
        return self.device_mesh["data_parallel"]


def strategy(trainer: Mapping[str, Any]) -> Any:
    """Return what Lightning's Trainer is given as `strategy`.

    Args:
        trainer: Configuration of the Trainer.
    """
    chosen = trainer.get("strategy", "auto")
    return Sharded() if chosen == NAME else chosen


def check_strategy(trainer: Mapping[str, Any], callbacks: Mapping[str, Any]) -> None:
    """Refuse a strategy that cannot run, or whose checkpoints would have to be unpickled.

    Args:
        trainer: Configuration of the Trainer.
        callbacks: Configurations by name.

    Raises:
        ConfigError: If it is asked for and cannot be used.
    """
    chosen, precision = str(trainer.get("strategy", "auto")), str(trainer.get("precision"))
    if chosen == NAME and precision in ("16", "16-mixed"):
        raise ConfigError(
            f"trainer.precision={precision}: with trainer.strategy={NAME} processes would scale"
            " their gradients apart; take trainer.precision=bf16-mixed"
        )
    if not chosen.startswith("deepspeed"):
        return
    instead = f"take trainer.strategy={NAME}"
    faults = {
        f"the package deepspeed is not installed; pip install deepspeed, or {instead}": find_spec(
            "deepspeed"
        )
        is None,
        f"DeepSpeed trains on NVIDIA's GPUs alone; {instead}": not torch.cuda.is_available()
        or trainer.get("accelerator") == "cpu",
        f"no process holds whole weights, which are needed at the end; {instead}": "stage_3"
        in chosen,
        "its checkpoints are pickles, which are never read; take callbacks.checkpoint=null"
        f" callbacks.resume=null, or {instead}": bool({"checkpoint", "resume"} & callbacks.keys()),
    }
    for fault, found in faults.items():
        if found:
            raise ConfigError(f"trainer.strategy={chosen}: {fault}")


def check_division(given: Mapping[str, Any], trainer: pl.Trainer) -> None:
    """Refuse to divide a model where that cannot be done.

    Args:
        given: Configuration of the Trainer.
        trainer: Built from it.

    Raises:
        ConfigError: If there is one process.
    """
    if not isinstance(trainer.strategy, Sharded):
        return
    if trainer.world_size == 1:
        raise ConfigError(
            f"trainer.strategy={NAME}: trainer.devices={given.get('devices')} is one process, which"
            " has nobody to divide a model with; take trainer.devices=2, or leave it out"
        )


def divided_network(network: Network, mesh: DeviceMesh) -> Network:
    """Return a copy of a network of which each process holds a part, block by block.

    Args:
        network: Stays whole.
        mesh: The processes.
    """
    copied = copy.deepcopy(network)
    for stack in [each for each in copied.modules() if isinstance(each, nn.ModuleList)]:
        for block in stack:
            fully_shard(block, mesh=mesh)
    fully_shard(copied, mesh=mesh)
    return copied


def divided_leaves(network: Network, mesh: DeviceMesh) -> Network:
    """Return a copy of modules that are called one by one, each of which is divided.

    Args:
        network: Holds them; its own output may be anything.
        mesh: The processes.
    """
    copied = copy.deepcopy(network)
    for leaf in list(copied.modules()):
        if next(leaf.parameters(recurse=False), None) is not None:
            fully_shard(leaf, mesh=mesh)
    return copied


def whole_norm(norm: Tensor) -> Tensor:
    """Return the norm of all parts, of which each process has measured its own.

    Args:
        norm: A scalar; of a network that is not divided it is returned as it is.
    """
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def whole_state(network: nn.Module) -> dict[str, Any]:
    """Return all of what the processes hold in parts, in each of them.

    Args:
        network: Divided.
    """
    return get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))
