"""What a teacher has written is learned word by word, each word alike."""

from __future__ import annotations

import math

import torch

from distill_lab.objectives.sequence import Sequence
from distill_lab.types import Batch, Outputs

# Two rows: of the first three words are asked, of the second one.
ASKED = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)
LABELS = torch.tensor([1, 0, 2, 2])


def batch() -> Batch:
    tokens = torch.ones(2, 4, dtype=torch.int64)
    inputs = {"input_ids": tokens, "attention_mask": tokens}
    return Batch(torch.arange(2), inputs, LABELS, ASKED, "tokens")


def test_it_is_the_mean_cross_entropy_of_the_words_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, requires_grad=True)
    (term,) = Sequence()(Outputs(logits), Outputs(torch.empty(0)), batch()).values()
    found = term.part(batch())
    found.backward()

    words = zip(logits.detach().double().tolist(), LABELS.tolist(), strict=True)
    expected = sum(math.log(sum(map(math.exp, z))) - z[label] for z, label in words) / 4
    assert math.isclose(float(found.detach()), expected, rel_tol=1e-6)
    closed = (logits.detach().softmax(1) - torch.nn.functional.one_hot(LABELS, 3)) / 4
    torch.testing.assert_close(logits.grad, closed)
    assert (term.unit, term.weight) == ("answers", 1.0)
