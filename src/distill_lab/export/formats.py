"""The forms in which a student can be served: ONNX, int8, safetensors."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from distill_lab.errors import ModelError
from distill_lab.export.graph import inputs_of, write_graph
from distill_lab.serving.onnx_model import FILE
from distill_lab.serving.served import Served
from distill_lab.tasks import Squad
from distill_lab.tasks.tokens import padding

FORMATS = ("onnx", "onnx-int8", "int8", "safetensors")
WORDS = ("LMHeadModel", "ForCausalLM", "ForMaskedLM")  # how classes that predict words end


def to_onnx(served: Served, folder: Path) -> None:
    """Write a student as ONNX, with its tokeniser and its configuration.

    Args:
        served: The student.
        folder: Where to write `model.onnx`; made if need be.

    Raises:
        ModelError: If it cannot be exported, or a package is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _need(package, "onnx", str(served.folder))
    folder.mkdir(parents=True, exist_ok=True)
    names = [] if served.tokenizer is None else served.tokenizer.model_input_names
    model = served.model.cpu().eval()
    write_graph(model, served.problem, inputs_of(model, served.problem, names), folder / FILE)
    write_beside(served, folder)


def to_onnx_int8(onnx_folder: Path, folder: Path) -> None:
    """Write an ONNX student with 8-bit weights, one scale for each output channel.

    Activations are quantised as they come. Weights are symmetric in [-127, 127] as onnxruntime and
    torchao both have them (Jacob et al. 2018, arXiv 1712.05877, section 2). Embeddings have one
    scale; they stay float where the student was trained for int8, which has not rounded them, and
    where words are predicted with the same weights.

    Of a 6-layer student of 22.7 M parameters on MRPC's 408 rows, logits differed by at most 0.043
    and on average 0.010 with float embeddings (59 MB), 0.042 and 0.010 with rounded ones (23 MB);
    one scale a matrix gave 0.148 and 0.040, `reduce_range` 0.060 and 0.016, uint8 weights 0.045 and
    0.010. Processors without VNNI may saturate where `reduce_range` would not: parity tells.

    Args:
        onnx_folder: From `to_onnx`.
        folder: Where to write; made if need be.

    Raises:
        ModelError: If a package is missing.
    """
    for package in ("onnx", "onnxruntime"):
        _need(package, "onnx", str(onnx_folder))
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    large = (onnx_folder / f"{FILE}.data").is_file()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a step that torch's exporter has done
    try:
        quantize_dynamic(
            onnx_folder / FILE, folder / FILE, per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=_operators(onnx_folder), use_external_data_format=large,
            nodes_to_exclude=_shared_head(onnx_folder),
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
    settings = _torchao(type(model).__name__)
    _check_linear(model)
    from torchao.quantization import quantize_

    small: PreTrainedModel = copy.deepcopy(model)
    small.eval()
    head = small.get_output_embeddings()
    with torch.no_grad():
        # As transformers does it: what predicts words stays float.
        quantize_(small, settings, lambda m, _: isinstance(m, nn.Linear) and m is not head)
    return small


def _check_linear(model: PreTrainedModel) -> None:
    """Refuse a model of which torchao would round next to nothing.

    Raises:
        ModelError: If so.
    """
    from transformers.pytorch_utils import Conv1D

    if any(isinstance(each, Conv1D) for each in model.modules()):
        raise ModelError(
            f"{type(model).__name__}: torchao rounds linear layers of torch; those of GPT-2 are of"
            " a kind of their own (Conv1D), so take the form onnx-int8"
        )


def _torchao(where: str) -> Any:
    """Return how torchao is to quantise."""
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig
    except ImportError as error:
        raise _missing("torchao", "int8", where) from error
    return Int8DynamicActivationInt8WeightConfig()


def _operators(onnx_folder: Path) -> list[str]:
    """Return what is quantised: linear layers, and mostly embeddings."""
    settings = _settings(onnx_folder)
    predicts_words = any(name.endswith(WORDS) for name in settings.get("architectures") or ())
    keeps = predicts_words or "trained_for_int8" in settings
    return ["MatMul", "Gemm"] if keeps else ["MatMul", "Gemm", "Gather"]


def _settings(onnx_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((onnx_folder / "config.json").read_text(encoding="utf-8"))
    return found


def _shared_head(onnx_folder: Path) -> list[str]:
    """Return the node that predicts words with the embeddings' weights, which stay float."""
    import onnx

    settings = _settings(onnx_folder)
    names = settings.get("architectures") or [""]
    if not settings.get("tie_word_embeddings") or not names[0].endswith(WORDS):
        return []
    graph = onnx.load(onnx_folder / FILE, load_external_data=False).graph
    made = {name: node for node in graph.node for name in node.output}
    node = made.get("logits")
    while node is not None and node.op_type not in ("MatMul", "Gemm"):
        node = next((made[name] for name in node.input if name in made), None)
    return [] if node is None else [node.name]


def write_int8(served: Served, folder: Path) -> None:
    """Write a student whose linear layers hold int8, as transformers and torchao load it.

    Args:
        served: The student.
        folder: Where to write.

    Raises:
        ModelError: If torchao is not installed, or does not know such models.
    """
    settings = _torchao(str(served.folder))
    _check_linear(served.model)
    from transformers import TorchAoConfig

    with tempfile.TemporaryDirectory(prefix="distill-lab-") as plain:
        served.model.save_pretrained(plain)
        kind: Any = type(served.model)
        model = kind.from_pretrained(
            plain, quantization_config=TorchAoConfig(settings), dtype=torch.float32
        )
    model.save_pretrained(folder)
    write_tokenizer(served, folder)


def write_safetensors(served: Served, folder: Path, dtype: str) -> None:
    """Write a student with weights of another precision, as transformers loads it.

    Args:
        served: The student.
        folder: Where to write.
        dtype: "float32", "float16" or "bfloat16".
    """
    model = copy.deepcopy(served.model).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    write_tokenizer(served, folder)


def write_beside(served: Served, folder: Path) -> None:
    """Write what a model's file needs beside it: configuration, labels, tokeniser."""
    served.model.config.save_pretrained(folder)
    write_tokenizer(served, folder)
    if served.tokenizer is not None:
        _cut_and_pad(served, folder / "tokenizer.json")


def write_tokenizer(served: Served, folder: Path) -> None:
    """Write a student's tokeniser, where it has one."""
    if served.tokenizer is not None:
        served.tokenizer.save_pretrained(folder)


def _cut_and_pad(served: Served, file: Path) -> None:
    """Let the tokeniser's file say at how many tokens rows are cut, and how they are padded.

    Who has nothing but `tokenizers` needs to know nothing else.
    """
    from tokenizers import Tokenizer

    if not file.is_file() or served.tokenizer is None:
        return  # a slow one
    tokenizer = Tokenizer.from_file(str(file))
    if served.problem.kind != "causal_lm":  # whose prompts are not cut
        second = isinstance(served.task, Squad)
        tokenizer.enable_truncation(
            served.task.max_length, strategy="only_second" if second else "longest_first"
        )
    pad = padding(served.tokenizer)
    tokenizer.enable_padding(pad_id=pad, pad_token=str(tokenizer.id_to_token(pad)))
    tokenizer.save(str(file))


def _need(package: str, extra: str, where: str) -> None:
    try:
        __import__(package)
    except ImportError as error:
        raise _missing(package, extra, where) from error


def _missing(package: str, extra: str, where: str) -> ModelError:
    return ModelError(
        f"{where}: {package} is not installed; type: pip install 'distill-lab[{extra}]'"
    )
