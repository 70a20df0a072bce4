"""Students trained for int8: they compute what onnxruntime will."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from distill_lab.results import Result
from distill_lab.students.int8 import (
    MARK, Int8Conv1D, Int8Linear, in_int8, in_uint8, is_int8, sizes, to_float, to_int8,
)
from tests.stacks import SIZES, stack

Go = Callable[..., Result]
RANGES = {"both": (-3.0, 5.0), "above": (1.0, 4.0), "below": (-7.0, -2.0), "wide": (-900.0, 40.0)}


def by_onnxruntime(weight: Tensor, bias: Tensor, values: Tensor, work: Path) -> Tensor:
    """What onnxruntime's dynamic int8 form of a linear layer gives; the weight is `[in, out]`."""
    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(values.shape))
    outputs = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="product"),
        helper.make_node("Add", ["product", "b"], ["y"]),
    ]
    held = {"w": weight, "b": bias}
    constants = [onnx.numpy_helper.from_array(v.numpy(), name) for name, v in held.items()]
    graph = helper.make_graph(nodes, "linear", [inputs], [outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, work / "float.onnx")
    quantize_dynamic(
        work / "float.onnx", work / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8
    )
    session = onnxruntime.InferenceSession(work / "int8.onnx", providers=["CPUExecutionProvider"])
    assert "MatMulInteger" in {node.op_type for node in onnx.load(work / "int8.onnx").graph.node}
    return torch.from_numpy(session.run(None, {"x": values.numpy()})[0])


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("kind", [Int8Linear, Int8Conv1D])
def test_a_layer_computes_what_onnxruntime_does(
    kind: type[nn.Module], name: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    layer = Int8Linear(96, 64) if kind is Int8Linear else Int8Conv1D(64, 96)
    with torch.no_grad():
        layer.weight.normal_().mul_(torch.logspace(-3, 1, layer.weight.shape[1]))
        weight = layer.weight.T if kind is Int8Linear else layer.weight
        weight[:, 5] = 0.0  # a unit that does nothing
        layer.bias.normal_()
    low, high = RANGES[name]
    values = torch.empty(4, 33, 96).uniform_(low, high)
    theirs = by_onnxruntime(weight.detach().contiguous(), layer.bias.detach(), values, tmp_path)
    with torch.no_grad():
        ours, exact = layer(values), values @ weight + layer.bias
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))
    assert (ours - exact).abs().max() > 100 * (ours - theirs).abs().max()  # rounding is there
    assert torch.equal(ours[..., 5], layer.bias[5].expand(4, 33))


def test_nothing_but_zeros() -> None:
    assert torch.equal(in_uint8(torch.zeros(3, 4)), torch.zeros(3, 4))
    assert in_uint8(torch.zeros(0, 4)).shape == (0, 4)
    assert torch.equal(in_int8(torch.zeros(3, 4), 0), torch.zeros(3, 4))


def test_activations_by_the_operators_own_example() -> None:
    """From the ONNX specification of `DynamicQuantizeLinear`."""
    given = torch.tensor([0, 2, -3, -2.5, 1.34, 0.5])
    steps = torch.tensor([153.0, 255, 0, 26, 221, 179])
    torch.testing.assert_close(in_uint8(given), (steps - 153) * (5 / 255))


def test_halves_go_to_the_even_number() -> None:
    given = torch.tensor([0.0, 0.5, 1.5, 2.5, 255.0])
    assert in_uint8(given).tolist() == [0, 0, 2, 2, 255]
    weight = torch.tensor([[-127.0, 0.5, 1.5, 2.5, -2.5]])
    assert in_int8(weight, 0).tolist() == [[-127, 0, 2, 2, -2]]


def test_weights_are_at_most_half_a_step_off_and_256_values_are_left() -> None:
    torch.manual_seed(0)
    weight = torch.randn(7, 5000) * torch.logspace(-4, 3, 7)[:, None]
    rounded = in_int8(weight, 0)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((rounded - weight).abs() <= step * 0.5001).all()
    assert max(len(row.unique()) for row in rounded) <= 255
    assert len(in_uint8(torch.randn(50_000)).unique()) <= 256
    torch.testing.assert_close(in_int8(weight.T, 1), rounded.T)


def test_gradients_pass_straight_through() -> None:
    """Those of a float layer whose weight and input are the rounded ones."""
    torch.manual_seed(1)
    layer = Int8Linear(6, 4)
    given = torch.randn(5, 6, requires_grad=True)
    layer(given).square().sum().backward()
    rounded_input = in_uint8(given).detach().requires_grad_()
    rounded_weight = in_int8(layer.weight, 0).detach().requires_grad_()
    nn.functional.linear(rounded_input, rounded_weight, layer.bias).square().sum().backward()
    assert torch.equal(given.grad, rounded_input.grad)  # type: ignore[arg-type]
    assert torch.equal(layer.weight.grad, rounded_weight.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SIZES)
def test_names_and_weights_stay(kind: str, tmp_path: Path) -> None:
    model = stack(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    int8 = to_int8(copy.deepcopy(model))
    after = int8.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    tokens = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        exact, rounded = model(tokens).logits, int8(tokens).logits
        assert 0 < (exact - rounded).abs().max() < 0.2 * exact.abs().max()
        int8.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path)
        assert torch.equal(loaded(tokens).logits, exact)
        assert torch.equal(to_int8(loaded)(tokens).logits, rounded)
        assert torch.equal(to_float(int8)(tokens).logits, exact)
    assert loaded.config.to_dict()[MARK]["float_layers"] == []
