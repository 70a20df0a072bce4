"""The forms in which a student can be served: ONNX, int8, safetensors."""

from __future__ import annotations

import copy
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from distill_lab.errors import ModelError
from distill_lab.export.graph import inputs_of, write_graph
from distill_lab.serving.onnx_model import FILE
from distill_lab.serving.served import Served

FORMATS = ("onnx", "onnx-int8", "int8", "safetensors")


def to_onnx(served: Served, folder: Path) -> None:
    """Write a student as ONNX, with its tokeniser and its configuration.

    Args:
        served: The student.
        folder: Where to write `model.onnx`; made if need be.

    Raises:
        ModelError: If it cannot be exported, or a package is missing.
    """
    _need("onnxscript", "onnx", str(served.folder))
    folder.mkdir(parents=True, exist_ok=True)
    names = [] if served.tokenizer is None else served.tokenizer.model_input_names
    model = served.model.cpu().eval()
    write_graph(model, served.problem, inputs_of(model, served.problem, names), folder / FILE)
    write_beside(served, folder)


def to_onnx_int8(onnx_folder: Path, folder: Path) -> None:
    """Write an ONNX student with 8-bit weights, one scale for each output channel.

    Activations are quantised as they come. Weights are symmetric in [-127, 127] as onnxruntime and
    torchao both have them (Jacob et al. 2018, arXiv 1712.05877, section 2).

    Args:
        onnx_folder: From `to_onnx`.
        folder: Where to write; made if need be.

    Raises:
        ModelError: If a package is missing.
    """
    _need("onnxruntime", "onnx", str(onnx_folder))
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    large = (onnx_folder / f"{FILE}.data").is_file()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a step that torch's exporter has done
    try:
        quantize_dynamic(
            onnx_folder / FILE, folder / FILE, per_channel=True, weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )  # fmt: skip
    finally:
        root.setLevel(level)
    for file in onnx_folder.iterdir():
        if file.is_file() and not file.name.startswith(FILE) and not (folder / file.name).exists():
            shutil.copy2(file, folder / file.name)


def to_int8(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model whose linear layers compute in 8 bits, by torchao.

    Weights are symmetric, one scale for each output channel; activations are quantised as they
    come, one scale for each token.

    Args:
        model: In evaluation mode, float32.

    Raises:
        ModelError: If torchao is not installed, or does not know such models.
    """
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ImportError as error:
        raise _missing("torchao", "int8", type(model).__name__) from error
    small = copy.deepcopy(model).eval()
    settings: Any = Int8DynamicActivationInt8WeightConfig()
    with torch.no_grad():
        quantize_(small, settings)
    return small


def write_beside(served: Served, folder: Path) -> None:
    """Write what a model's file needs beside it: configuration, labels, tokeniser."""
    served.model.config.save_pretrained(folder)
    if served.tokenizer is not None:
        served.tokenizer.save_pretrained(folder)


def _need(package: str, extra: str, where: str) -> None:
    try:
        __import__(package)
    except ImportError as error:
        raise _missing(package, extra, where) from error


def _missing(package: str, extra: str, where: str) -> ModelError:
    return ModelError(
        f"{where}: {package} is not installed; type: pip install 'distill-lab[{extra}]'"
    )
