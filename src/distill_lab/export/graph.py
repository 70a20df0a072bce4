"""A model as an ONNX graph whose batch and length are free."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill_lab.errors import ModelError, first_line
from distill_lab.serving.onnx_model import OnnxModel
from distill_lab.types import Problem

_ONE_FILE = 1.8e9  # bytes of weights; a protobuf holds 2 GiB
_PROBE = (3, 7)  # rows and tokens that the exporters trace
_CLOSE = 1e-3  # relative to the largest logit: what a graph may differ by on rows it has not seen
_AXES = ("batch", "length")


def inputs_of(model: PreTrainedModel, problem: Problem, names: Sequence[str]) -> list[str]:
    """Return what a model is called with, in the order of its signature.

    Args:
        model: Any of transformers.
        problem: Says what a row is.
        names: What its tokeniser gives.
    """
    if problem.reads == "images":
        return ["pixel_values"]
    wanted = {"input_ids", "attention_mask"} | (set() if problem.words else set(names))
    return [name for name in inspect.signature(type(model).forward).parameters if name in wanted]


def outputs_of(problem: Problem) -> list[str]:
    """Return the names of a model's answers."""
    return ["start_logits", "end_logits"] if problem.kind == "spans" else ["logits"]


def write_graph(
    model: PreTrainedModel, problem: Problem, inputs: Sequence[str], path: Path
) -> None:
    """Write a model as ONNX, in float32.

    The exporter that follows the program is tried first, then the one that records a run; a graph
    counts only if it gives the model's logits for rows of another number and length as well, some
    padded: what was recorded may have kept what was particular to its example.

    Args:
        model: In evaluation mode, on the CPU.
        problem: What it answers.
        inputs: What it is called with, see `inputs_of`.
        path: The file to write.

    Raises:
        ModelError: If no exporter gives a graph that agrees with the model.
    """
    whole, faults = _Plain(model, inputs, outputs_of(problem)).eval(), list[str]()
    for attention, dynamo in ((None, True), ("eager", True), ("eager", False)):
        with _attention(model, attention):
            try:
                with _quiet():
                    _export(whole, _example(model, inputs, _PROBE), path, dynamo)
                _check(whole, model, path)
                return
            except ModelError as error:
                faults.append(str(error))
            except Exception as error:  # whatever an exporter raises
                faults.append(f"{type(error).__name__}: {first_line(error)[:200]}")
    raise ModelError(
        f"{type(model).__name__} cannot be exported to ONNX by this version of torch"
        f" ({faults[0]}); take --to safetensors, or another architecture"
    )


class _Plain(nn.Module):
    """A model that takes its inputs by position and gives its logits alone."""

    def __init__(
        self, model: PreTrainedModel, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        super().__init__()
        self.model = model
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        accepted = inspect.signature(type(model).forward).parameters
        self.more = {"use_cache": False} if "use_cache" in accepted else {}

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in their order."""
        named = dict(zip(self.inputs, given, strict=True))
        answer = self.model(**named, **self.more, return_dict=True)
        return tuple(getattr(answer, name) for name in self.outputs)


def _example(
    model: PreTrainedModel, inputs: Sequence[str], shape: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Return inputs of a shape, of which the last row is padded at its end."""
    rows, length = shape
    if "pixel_values" in inputs:
        size, channels = model.config.image_size, model.config.num_channels
        height, width = (size, size) if isinstance(size, int) else size
        return (torch.rand(rows, channels, height, width),)
    mask = torch.ones(rows, length, dtype=torch.int64)
    mask[-1, length // 2 + 1 :] = 0
    words = torch.arange(rows * length).reshape(rows, length) % model.config.vocab_size
    made = {"input_ids": words, "attention_mask": mask}
    return tuple(made.get(name, torch.zeros_like(mask)) for name in inputs)


def _export(whole: _Plain, example: tuple[Tensor, ...], path: Path, dynamo: bool) -> None:
    axes = {0: "batch"} if "pixel_values" in whole.inputs else dict(enumerate(_AXES))
    size = sum(each.numel() * 4 for each in whole.parameters())
    common: dict[str, Any] = {"input_names": whole.inputs, "output_names": whole.outputs}
    with torch.no_grad():
        if dynamo:
            free = {axis: torch.export.Dim.DYNAMIC for axis in axes}
            torch.onnx.export(
                whole, example, path, **common, dynamo=True, verbose=False,
                dynamic_shapes=(tuple(free for _ in example),), external_data=size > _ONE_FILE,
            )  # fmt: skip
            _tidy(path, axes)
        else:
            free_axes = {name: axes for name in whole.inputs}
            free_axes |= {name: {0: "batch"} for name in whole.outputs}
            torch.onnx.export(
                whole, example, path, **common, dynamo=False, dynamic_axes=free_axes,
                opset_version=17,
            )  # fmt: skip


def _tidy(path: Path, axes: dict[int, str]) -> None:
    """Name the free sizes of a graph, and leave out where in whose files its nodes come from."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    known: dict[str, str] = {}
    for value in graph.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                known[size.dim_param] = axes.get(axis, size.dim_param)
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in known:
                size.dim_param = known[size.dim_param]
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    graph.graph.ClearField("metadata_props")
    onnx.save(graph, path)


def _check(whole: _Plain, model: PreTrainedModel, path: Path) -> None:
    """Hold a graph against its model on rows of other numbers and lengths."""
    session = OnnxModel(path)
    for shape in ((1, 4), (5, 11)):
        given = _example(model, whole.inputs, shape)
        with torch.no_grad():
            expected = whole(*given)
        arrays = {n: g.numpy() for n, g in zip(whole.inputs, given, strict=True)}
        found = session.run(arrays)
        valid = arrays.get("attention_mask")
        for name, right in zip(whole.outputs, expected, strict=True):
            apart = (torch.from_numpy(found[name]) - right).abs()
            if valid is not None and apart.shape[:2] == valid.shape:
                apart = apart[torch.from_numpy(valid).bool()]
            if not float(apart.max()) <= _CLOSE * max(1.0, float(right.abs().max())):
                raise ModelError(
                    f"its graph differs from it by {float(apart.max()):.3g} for {shape[0]} rows of"
                    f" {shape[1]} tokens"
                )


@contextmanager
def _attention(model: PreTrainedModel, name: str | None) -> Iterator[None]:
    """Let a model compute its attention in another way for a while, where it can."""
    before = getattr(model.config, "_attn_implementation", None)
    if name is None or before is None:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporters say of themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
