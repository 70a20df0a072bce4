"""Students that start from nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill_lab.models import load_tokenizer
from distill_lab.new_models import new_model
from distill_lab.types import Problem
from tests.conftest import TINY


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "camembert"])
def test_the_longest_row_has_a_position_for_each_token(kind: str, encoder: Path) -> None:
    """RoBERTa's kin count positions from the padding id on."""
    tokenizer = load_tokenizer(str(encoder), "student.model")
    problem = Problem("classification", ("a", "b"))
    model = new_model({**TINY, "model_type": kind}, tokenizer, 40, problem, "student.sizes")
    ids = torch.full((1, 40), 7)
    assert model(ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()
