"""Catching queries, keys and values, for every kind of stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distill_lab.attention import is_causal
from distill_lab.errors import ModelError
from distill_lab.forward import forward
from distill_lab.types import Batch, Outputs, Wanted
from tests.stacks import SIZES, stack

KINDS = [kind for kind in SIZES if kind != "megatron-bert"]
WANTED = Wanted(attention=(1, 4))


def batch() -> Batch:
    torch.manual_seed(1)
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    ids = torch.randint(1, 50, (2, 9)) * mask
    return Batch(torch.arange(2), {"input_ids": ids, "attention_mask": mask}, torch.tensor([0, 1]))


def rows(outputs: Outputs, layer: int) -> Tensor:
    attention = outputs.attention[layer]
    scores = attention.scores
    if attention.allowed is not None:
        scores = scores.masked_fill(~attention.allowed, float("-inf"))
    return scores.softmax(dim=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_eager_attention(kind: str) -> None:
    # In float64, for in float32 the two ways to compute a layer differ by what a processor rounds.
    model = stack(kind).double()
    with torch.no_grad():
        found = forward(model, batch(), WANTED)
        model.set_attn_implementation("eager")
        eager = model(**batch().inputs, output_attentions=True).attentions
    real = batch().mask.bool()[:, None, :, None]
    for layer in WANTED.attention:
        assert found.attention[layer].queries.shape == (2, 2, 9, 8)
        distance = (rows(found, layer) - eager[layer - 1]).abs()
        assert distance.masked_select(real).max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_catching_changes_no_answer(kind: str) -> None:
    model = stack(kind)
    with torch.no_grad():
        plain = forward(model, batch())
        found = forward(model, batch(), WANTED)
    assert torch.equal(plain.logits, found.logits)
    assert set(found.attention) == {1, 4} and not plain.attention


def test_dropout_has_no_part_in_what_is_caught() -> None:
    model = stack("bert").train()
    model.bert.embeddings.dropout.p = 0.0
    rows = batch()
    once, again = (forward(model, rows, Wanted(attention=(1,))) for _ in range(2))
    assert not torch.equal(once.logits, again.logits)
    assert torch.equal(once.attention[1].scores, again.attention[1].scores)


def test_keys_that_heads_share_are_repeated() -> None:
    torch.manual_seed(0)
    model = stack("llama", num_attention_heads=4, num_key_value_heads=2, hidden_size=32)
    attention = forward(model, batch(), Wanted(attention=(2,))).attention[2]
    assert attention.keys.shape == attention.queries.shape == (2, 4, 9, 8)
    assert torch.equal(attention.keys[:, 0], attention.keys[:, 1])
    assert not torch.equal(attention.keys[:, 1], attention.keys[:, 2])


def test_gradients_flow_through_what_is_caught() -> None:
    model = stack("bert")
    forward(model, batch(), Wanted(attention=(4,))).attention[4].scores.sum().backward()
    gradient = model.bert.encoder.layer[3].attention.self.query.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_the_switch_is_not_saved(tmp_path: Path) -> None:
    model = stack("bert")
    forward(model, batch(), WANTED)
    model.save_pretrained(tmp_path)
    assert "sdpa_caught" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))


def test_a_model_with_attention_of_its_own_is_refused() -> None:
    with pytest.raises(ModelError, match="in its own way"):
        forward(stack("megatron-bert"), batch(), WANTED)


def test_models_that_look_left() -> None:
    found = {kind: is_causal(stack(kind).config) for kind in SIZES}
    assert {kind for kind, left in found.items() if left} == {"gpt2", "llama"}


def test_a_model_that_looks_left_says_so() -> None:
    attention = forward(stack("gpt2"), batch(), Wanted(attention=(1,))).attention[1]
    assert attention.allowed is not None
    future = torch.ones(9, 9).triu(1).bool()
    assert not (attention.allowed.expand(2, 1, 9, 9) & future).any()


def test_hidden_states_are_those_asked_for() -> None:
    model = stack("bert")
    with torch.no_grad():
        found = forward(model, batch(), Wanted(hidden_states=(0, 3)))
        all_states = model(**batch().inputs, output_hidden_states=True).hidden_states
    assert set(found.hidden_states) == {0, 3}
    torch.testing.assert_close(found.hidden_states[3], all_states[3])
