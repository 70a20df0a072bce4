"""Students trained for int8: they compute what onnxruntime will."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification

from distill_lab.errors import ConfigError
from distill_lab.evaluation import answers, score
from distill_lab.hydra_entry import compose
from distill_lab.results import Provenance, Result
from distill_lab.results.runs import collect, together
from distill_lab.serving.served import open_run
from distill_lab.students import Layers, Quantised
from distill_lab.students.int8 import (
    MARK,
    Int8Conv1D,
    Int8Linear,
    in_int8,
    in_uint8,
    is_int8,
    sizes,
    to_float,
    to_int8,
)
from tests.conftest import tiny
from tests.stacks import SIZES, stack
from tests.test_ranks import TWO, train

Go = Callable[..., Result]
INT8 = ("student=int8", "student@student.of=layers", "student.of.num_layers=2")
CPU = torch.device("cpu")
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


def test_the_output_layer_that_shares_the_embeddings_weights_stays_float() -> None:
    sizes_of = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("bert", vocab_size=50, num_hidden_layers=1, **sizes_of)
    model = to_int8(AutoModelForMaskedLM.from_config(config))
    assert type(model.cls.predictions.decoder) is nn.Linear
    assert type(model.cls.predictions.transform.dense) is Int8Linear
    assert getattr(model.config, MARK)["float_layers"] == ["cls.predictions.decoder"]


def test_sizes_by_hand() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3), nn.LayerNorm(3))
    model.config = type("Config", (), {})()  # type: ignore[assignment]
    assert sizes(model) == {"parameters": 40 + 15 + 6}  # type: ignore[arg-type]
    to_int8(model)  # type: ignore[arg-type]
    # 12 bytes of weights, 3 scales; embeddings, bias and norm stay float.
    assert sizes(model) == {"parameters": 61, "int8_bytes": 12 + 4 * 3 + 4 * (40 + 3 + 6)}  # type: ignore[arg-type]


def test_a_run_is_scored_as_it_will_be_served(lab: Go, tmp_path: Path) -> None:
    """Student and baseline alike; the teacher and its cached signals are those of any run."""
    plain, result = lab("optim.lr=1e-4", out="plain"), lab(*INT8, "optim.lr=1e-4")
    served = open_run(tmp_path / "run")
    assert served.int8 == getattr(served.as_scored().config, MARK)
    assert not is_int8(served.model) and is_int8(served.as_scored())
    data = served.data()
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    recorded = torch.from_numpy(np.stack(table["student_logits"]))
    with torch.no_grad():
        int8, exact = (
            answers(served.task, model, data, CPU, "")["evaluation"]
            for model in (served.as_scored(), served.model)
        )
    torch.testing.assert_close(int8, recorded, rtol=0, atol=1e-5)
    assert (exact - recorded).abs().max() > 1e-3
    store = tmp_path / "store"
    folder = store / "baselines" / result.fingerprints["baseline"] / "student"
    baseline = AutoModelForSequenceClassification.from_pretrained(folder)
    given = answers(served.task, to_int8(baseline), data, CPU, "")["evaluation"]
    kept = torch.from_numpy(np.stack(table["baseline_logits"]))
    torch.testing.assert_close(given, kept, rtol=0, atol=1e-5)
    assert plain.fingerprints["baseline"] != result.fingerprints["baseline"]
    assert plain.metrics["teacher"] == result.metrics["teacher"]
    assert len(list((store / "signals").glob("*/entry.json"))) == 1


def test_what_it_costs_and_says(lab: Go, tmp_path: Path) -> None:
    plain, result = lab("trainer.max_steps=1", out="plain"), lab(*INT8, "trainer.max_steps=1")
    student, baseline = result.cost["student"], result.cost["baseline"]
    assert student["parameters"] == plain.cost["student"]["parameters"]
    assert student["int8_bytes"] == baseline["int8_bytes"]
    assert student["parameters"] < student["int8_bytes"] < 4 * student["parameters"]
    assert "int8_bytes" not in result.cost["teacher"] | plain.cost["student"]
    cards = [(tmp_path / out / "student" / "README.md").read_text() for out in ("plain", "run")]
    assert ["Trained for int8" in card for card in cards] == [False, True]


def test_what_is_made_of_such_a_student_is_none(lab: Go, tmp_path: Path) -> None:
    lab(*INT8, "trainer.max_steps=1")
    teacher = tmp_path / "run" / "student"
    short = ("trainer.max_steps=1", "baseline=false", f"teacher.model={teacher}")
    lab(*short, "student.num_layers=1", "teacher.min_over_chance=-1", out="next")
    assert open_run(tmp_path / "next").int8 is None


@pytest.mark.parametrize(
    "more",
    [
        ("trainer=fast", "trainer.accelerator=cpu"),
        ("objective=minilm_v2", "objective.relation_heads=4"),
        pytest.param(
            ("callbacks=compiled", "callbacks.compile.backend=eager"), marks=pytest.mark.slow
        ),
    ],
    ids=lambda more: more[0],
)
def test_it_trains_with_everything_else(lab: Go, tmp_path: Path, more: tuple[str, ...]) -> None:
    """Half precision, attention that is caught, a compiled network."""
    result = lab(*INT8, *more, "trainer.max_steps=4", "optim.batch_size=8")
    assert result.metrics["student"]["accuracy"] > 0.8
    assert open_run(tmp_path / "run").int8


def test_one_table_with_the_student_itself(lab: Go, tmp_path: Path) -> None:
    """As `-m student=layers,int8` leaves them."""
    of = {"student@student.of": "layers"}
    for name, choices in (("a", {"student": "layers"}), ("b", {"student": "int8", **of})):
        result = lab(*(INT8 if name == "b" else ()), "trainer.max_steps=1", out=name)
        result.choices = {**Provenance.of(compose()).choices, **choices}
        result.write(tmp_path / name)
    groups = together(collect([tmp_path / "a", tmp_path / "b"]).results)
    assert [len(group.results) for group in groups] == [2]


def test_training_makes_up_for_what_rounding_afterwards_loses(
    lab: Go, tmp_path: Path, finetuned: Path
) -> None:
    """One unit in 64 is so large that the others share a few of the 256 steps."""
    outlier = tmp_path / "outlier"
    shutil.copytree(finetuned, outlier)
    model = AutoModelForSequenceClassification.from_pretrained(finetuned)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:  # computes what it did: the unit is not looked at
            layer.intermediate.dense.bias[0] = layer.attention.self.value.bias[0] = 1000.0
            layer.output.dense.weight[:, 0] = layer.attention.output.dense.weight[:, 0] = 0.0
    model.save_pretrained(outlier)
    line = ("baseline=false", "trainer.max_epochs=3", f"teacher.model={outlier}")
    exact = lab(*line, out="exact").metrics["student"]["accuracy"]
    trained = lab(*line, *INT8, out="trained").metrics["student"]["accuracy"]
    served = open_run(tmp_path / "exact")
    data = served.data()
    given = answers(served.task, to_int8(served.model), data, CPU, "")
    afterwards = score(served.task, data, given).metrics["accuracy"]
    assert exact > 0.98 and afterwards < 0.95 and trained > afterwards + 0.04


def test_errors_name_the_inner_key(lab: Go) -> None:
    with pytest.raises(ConfigError, match=r"^student\.of\.num_layers=9: the teacher has 4 layers"):
        lab(*INT8, "student.of.num_layers=9")
    with pytest.raises(ConfigError, match=r"^student\.of: is trained for int8 already"):
        Quantised(of=Quantised(of=Layers(num_layers=1)))
    with pytest.raises(ConfigError, match="has no linear layers"):
        to_int8(nn.Embedding(3, 4))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_whole_network_gives_onnxruntimes_logits(kind: str, tmp_path: Path) -> None:
    """Exported by torch, its products by weights rounded by onnxruntime."""
    model, tokens = stack(kind), torch.randint(1, 50, (3, 9))
    mask = torch.ones_like(tokens)
    mask[0, 6:] = 0

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return self.model(tokens, attention_mask=mask).logits  # type: ignore[no-any-return]

    torch.onnx.export(
        Logits().eval(), (tokens, mask), tmp_path / "float.onnx", input_names=["tokens", "mask"],
        dynamo=True,
    )  # fmt: skip
    quantize_dynamic(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", op_types_to_quantize=["MatMul"],
        per_channel=True,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(
        tmp_path / "int8.onnx", providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {"tokens": tokens.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        exact = model(tokens, attention_mask=mask).logits
        ours = to_int8(model)(tokens, attention_mask=mask).logits
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-5)
    assert (ours - exact).abs().max() > 1e-3


@pytest.mark.slow
def test_two_processes_train_one(finetuned: Path, rows_file: Path, tmp_path: Path) -> None:
    others = [o for o in tiny(finetuned, rows_file) if not o.startswith("student")]
    run = train(tmp_path, *others, *INT8, *TWO, "optim.batch_size=8")
    assert Result.read(run / "result.json").metrics["student"]["accuracy"] > 0.9
    assert open_run(run).int8
