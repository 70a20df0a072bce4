"""Narrower students: what is cut where, and that what matters stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.results import Result
from distill_lab.students import importance
from distill_lab.students.narrow import Kept, Sizes, cut, narrowed, read_by
from distill_lab.tasks.tokens import TokenRows
from tests.stacks import SIZES, stack

KINDS = [kind for kind in SIZES if kind != "megatron-bert"]
HEADS = [1, 3]
UNITS = [0, 2, 3, 5, 8, 13, 21, 30]
WIDTHS = [0, 1, 2, 5, 7, 8, 12, 15]


def wide(kind: str) -> PreTrainedModel:
    """Four layers, 16 wide, four heads of four, 32 units."""
    heads = {"distilbert": "n_heads", "gpt2": "n_head"}.get(kind, "num_attention_heads")
    more = {"llama": {"num_key_value_heads": 4}, "gpt2": {"n_inner": 32}}.get(kind, {})
    return stack(kind, **{heads: 4}, **more)


def kept(units: list[int] = UNITS) -> Kept:
    layers = range(4)
    return Kept(
        torch.tensor(WIDTHS),
        {i: torch.tensor(HEADS) for i in layers},
        {i: torch.tensor(units) for i in layers},
    )


def narrow(model: PreTrainedModel, hidden: int | None, units: int | None) -> PreTrainedModel:
    target = AutoModelForSequenceClassification.from_config(narrowed(model.config, hidden, units))
    target.load_state_dict(cut(model, model.state_dict(), target.state_dict(), kept()))
    narrowed_model: PreTrainedModel = target.eval()
    return narrowed_model


def rows(count: int = 24) -> TokenRows:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = random.integers(1, 50, offsets[-1]).astype(np.int32)
    labels = random.integers(0, 3, count)
    return TokenRows(np.arange(count), labels, {"input_ids": tokens}, offsets, {"input_ids": 0})


def readers(model: PreTrainedModel, kind: str) -> list[tuple[nn.Module, int]]:
    """The modules that read heads or units, and the axis of their weight that they are on."""
    names = [n.rpartition(".")[0] for n, _ in model.named_parameters() if read_by(n) == kind]
    modules = [model.get_submodule(name) for name in names]
    return [(module, 0 if "Conv1D" in type(module).__name__ else 1) for module in modules]


@pytest.mark.parametrize("kind", KINDS)
def test_units_that_nothing_reads_can_go(kind: str) -> None:
    model = wide(kind)
    others = [unit for unit in range(32) if unit not in UNITS]
    for module, axis in readers(model, "units"):
        with torch.no_grad():
            module.weight.index_fill_(axis, torch.tensor(others), 0.0)
    student = narrow(model, None, len(UNITS))
    tokens = torch.randint(1, 50, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(student(tokens).logits, model(tokens).logits)
    assert Sizes.of(student.config).units == 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_size_is_cut_and_the_student_runs(kind: str) -> None:
    student = narrow(wide(kind), 8, 8)
    assert Sizes.of(student.config) == Sizes(hidden=8, heads=2, key_heads=2, head=4, units=8)
    logits = student(torch.randint(1, 50, (2, 9))).logits
    assert logits.shape == (2, 3) and torch.isfinite(logits).all()


def _heads(matrix: Tensor) -> Tensor:
    """Rows of the kept heads and columns of the kept width, of a `[16, 16]` matrix."""
    return matrix.reshape(4, 4, 16)[HEADS][..., WIDTHS].reshape(8, 8)


def test_a_width_that_leaves_no_place_for_the_projection_is_refused() -> None:
    teacher = stack("electra", embedding_size=8, num_attention_heads=4)
    with pytest.raises(ConfigError, match="the teacher's embeddings are as wide"):
        narrowed(teacher.config, 8, None)
    assert narrowed(teacher.config, 12, None).embedding_size == 8


def test_heads_are_cut_from_separate_matrices() -> None:
    model = wide("bert")
    ours, theirs = (m.bert.encoder.layer[1].attention for m in (narrow(model, 8, None), model))
    for part in ("query", "key", "value"):
        mine, full = (getattr(a.self, part).weight for a in (ours, theirs))
        assert torch.equal(mine, _heads(full))
        bias = getattr(theirs.self, part).bias
        assert torch.equal(getattr(ours.self, part).bias, bias.view(4, 4)[HEADS].flatten())
    assert torch.equal(ours.output.dense.weight.T, _heads(theirs.output.dense.weight.T))
    assert torch.equal(ours.output.LayerNorm.weight, theirs.output.LayerNorm.weight[WIDTHS])


def test_heads_are_cut_from_one_matrix_of_queries_keys_and_values() -> None:
    model = wide("modernbert")
    ours, theirs = (m.model.layers[2] for m in (narrow(model, 8, 8), model))
    for mine, full in zip(
        ours.attn.Wqkv.weight.chunk(3), theirs.attn.Wqkv.weight.chunk(3), strict=True
    ):
        assert torch.equal(mine, _heads(full))
    for mine, full in zip(ours.mlp.Wi.weight.chunk(2), theirs.mlp.Wi.weight.chunk(2), strict=True):
        assert torch.equal(mine, full[UNITS][:, WIDTHS])
    gpt = wide("gpt2")
    mine, full = (m.transformer.h[2].attn.c_attn.weight for m in (narrow(gpt, 8, None), gpt))
    for a, b in zip(mine.T.chunk(3), full.T.chunk(3), strict=True):
        assert torch.equal(a, _heads(b))


def test_heads_that_share_keys_stay_together() -> None:
    model = stack("llama", num_attention_heads=4, num_key_value_heads=2)
    target = AutoModelForSequenceClassification.from_config(narrowed(model.config, 8, None))
    one = {i: torch.tensor([1]) for i in range(4)}
    keep = Kept(torch.tensor(WIDTHS), one, {i: torch.arange(32) for i in range(4)})
    state = cut(model, model.state_dict(), target.state_dict(), keep)
    target.load_state_dict(state)
    full = model.model.layers[0].self_attn
    own = target.model.layers[0].self_attn
    assert torch.equal(own.q_proj.weight, full.q_proj.weight[8:][:, WIDTHS])
    assert torch.equal(own.k_proj.weight, full.k_proj.weight[4:][:, WIDTHS])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["heads", "units"])
def test_importance_is_the_gradient_to_a_gate(kind: str, part: str) -> None:
    """A gate before the module that reads a part, moved by hand."""
    model = wide(kind).double()
    tokens, labels = torch.randint(1, 50, (4, 9)), torch.tensor([0, 1, 2, 1])
    module, axis = readers(model, part)[2]
    width = {"heads": 4, "units": 1}[part]
    # These compute norms or rotary positions in single precision, in which a small step drowns.
    step, close = (1e-2, 1e-2) if kind in ("llama", "modernbert") else (1e-6, 1e-4)

    def loss(gate: float, at: int) -> Tensor:
        def hook(_: nn.Module, inputs: Any) -> tuple[Tensor]:
            gates = torch.ones(module.weight.shape[axis], dtype=torch.float64)
            gates[at * width : (at + 1) * width] = gate
            return (inputs[0] * gates,)

        handle = module.register_forward_pre_hook(hook)
        found = F.cross_entropy(model(tokens).logits, labels)
        handle.remove()
        return found

    F.cross_entropy(model(tokens).logits, labels).backward()
    changes = importance._changes(model)[part, 2]
    for at in (0, 2, len(changes) - 1):
        with torch.no_grad():
            slope = (loss(1 + step, at) - loss(1 - step, at)).item() / (2 * step)
        assert changes[at].item() == pytest.approx(slope, rel=close, abs=close / 100)


@pytest.mark.parametrize("kind", KINDS)
def test_what_matters_stays(kind: str) -> None:
    model = wide(kind)
    for module, axis in readers(model, "heads"):
        with torch.no_grad():
            module.weight.index_fill_(axis, torch.tensor([*range(4), *range(8, 12)]), 0.0)
    for module, axis in readers(model, "units"):
        with torch.no_grad():
            others = torch.tensor([unit for unit in range(32) if unit not in UNITS])
            module.weight.index_fill_(axis, others, 0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = importance.most_important(model, rows(), 16, Sizes.of(narrowed(model.config, 8, 8)))
    assert all(heads.tolist() == HEADS for heads in found.heads.values())
    assert all(units.tolist() == UNITS for units in found.units.values())
    assert len(found.hidden) == 8 and found.hidden.tolist() == sorted(set(found.hidden.tolist()))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hidden_dimensions_that_matter_stay() -> None:
    """Dimensions whose every norm gives 0 are not read by anything."""
    model = wide("bert")
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            with torch.no_grad():
                for value in (module.weight, module.bias):
                    value[[d for d in range(16) if d not in WIDTHS]] = 0.0
    found = importance.most_important(model, rows(), 16, Sizes.of(narrowed(model.config, 8, None)))
    assert found.hidden.tolist() == WIDTHS


@pytest.mark.parametrize(
    ("hidden", "units", "match"),
    [(6, None, "multiples of 4"), (20, None, "up to 16"), (None, 33, "32 units"), (0, None, "0:")],
)
def test_sizes_that_cannot_be_had_are_refused(
    hidden: int | None, units: int | None, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        narrowed(wide("bert").config, hidden, units)


@pytest.mark.parametrize("kind", ["deberta-v2", "phi3", "gemma", "mpnet"])
def test_what_is_called_otherwise_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"how to narrow a {kind}"):
        narrowed(AutoConfig.for_model(kind), 256, None)


def test_heads_wider_than_the_hidden_states_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot follow the heads"):
        narrowed(stack("llama", head_dim=16).config, 8, None)


def test_a_narrow_student_is_trained(lab: Callable[..., Result]) -> None:
    whole = lab("student=layers", "student.num_layers=2", out="whole")
    result = lab(
        "student=layers", "student.num_layers=2", "student.hidden_size=16",
        "student.intermediate_size=24", out="narrow",
    )  # fmt: skip
    assert result.parameters("student") < 0.6 * whole.parameters("student")
    assert result.metrics["student"]["accuracy"] > 0.6
