"""Where something is measured: device, processor, threads, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from distill_lab.errors import ConfigError
from distill_lab.results.result import versions

_CPUINFO = Path("/proc/cpuinfo")
_MORE = {"onnx": ("onnxruntime",), "onnx-int8": ("onnxruntime",), "int8": ("torchao",)}


def device_of(asked: str) -> str:
    """Return the device that is meant: "cpu" or "cuda".

    Raises:
        ConfigError: If there is none here.
    """
    here = torch.cuda.is_available()
    if asked == "cuda" and not here:
        raise ConfigError("--device=cuda: torch finds no GPU here; take --device cpu")
    if asked == "auto":
        return "cuda" if here else "cpu"
    return asked


def machine(device: str, threads: int) -> dict[str, Any]:
    """Return the name of what computes, and with how many threads."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {"name": name, "threads": threads}


def processor(file: Path = _CPUINFO) -> str:
    """Return what the processor calls itself."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def versions_of(form: str) -> dict[str, str]:
    """Return the versions of what computed a form."""
    return {**versions(), **dict(_found(_MORE.get(form, ())))}


def _found(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
