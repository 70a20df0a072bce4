"""Models that look left are told which token is padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from distill_lab.models import agree_on_padding, load_tokenizer
from distill_lab.results import Result
from tests.stacks import stack


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_row_is_answered_alone_as_beside_a_longer_one(kind: str, encoder: Path) -> None:
    tokenizer = load_tokenizer(str(encoder), "teacher.model")
    model = stack(kind, pad_token_id=49)
    agree_on_padding(model, tokenizer)
    row, longer = torch.tensor([5, 9, 11, 40]), torch.tensor([6, 8, 30, 7, 12, 9])
    padded = torch.full((2, 6), tokenizer.pad_token_id)
    padded[0, :4], padded[1] = row, longer
    mask = torch.tensor([[1] * 4 + [0] * 2, [1] * 6])
    with torch.no_grad():
        together = model(padded, attention_mask=mask).logits
        alone = model(row[None]).logits
    torch.testing.assert_close(together[:1], alone)


def test_a_tokeniser_without_padding_pads_with_its_end(encoder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(tmp_path)
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path), "teacher.model").pad_token == "[SEP]"


def test_a_decoder_teaches(lab: Callable[..., Result], encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    size = {"n_layer": 3, "n_embd": 32, "n_head": 2, "n_positions": 64}
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", vocab_size=len(tokenizer), pad_token_id=None, **size)
    AutoModelForSequenceClassification.from_config(config).transformer.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    result = lab(f"teacher.model={folder}", "teacher.epochs=6", "teacher.lr=5e-3")
    values = [result.metrics[name]["accuracy"] for name in ("teacher", "student")]
    assert np.min(values) > 0.8
