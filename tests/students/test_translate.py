"""The same weights under another architecture's names."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.heads import new_network
from distill_lab.results import Result
from distill_lab.students.layers import Layers
from distill_lab.students.translate import translated
from distill_lab.teachers import Live
from distill_lab.types import Problem
from tests.stacks import stack

PAIRS = [
    ("bert", "distilbert"), ("bert", "roberta"), ("distilbert", "bert"), ("distilbert", "roberta"),
    ("electra", "bert"), ("electra", "distilbert"), ("roberta", "bert"), ("roberta", "distilbert"),
]  # fmt: skip


CLASSES = Problem("classification", ("a", "b", "c"))
WORDS = Problem("masked_lm", (), 50)


def translation(
    source: PreTrainedModel,
    target: str,
    layers: int = 4,
    problem: Problem = CLASSES,
) -> PreTrainedModel:
    recipe = Layers(num_layers=layers, architecture=target)
    live = Live(lambda: source, "teacher", "", "")
    rows: Any = SimpleNamespace(problem=problem)
    built = recipe.build(live, rows)
    assert recipe.check(source.config, rows).model_type == target
    return built.eval()


def states(model: PreTrainedModel, pad: int) -> tuple[torch.Tensor, ...]:
    tokens = torch.tensor([[5, 9, 11, 40, 3, 7], [6, 8, 30, 2, pad, pad]])
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.no_grad():
        found = model.base_model(tokens, attention_mask=mask, output_hidden_states=True)
    return tuple(state * mask[:, :, None] for state in found.hidden_states)


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_hidden_states_are_those_of_the_teacher(source: str, target: str, pad: int) -> None:
    """RoBERTa's positions begin behind the padding's id, and its own is 1."""
    more = {} if source == "distilbert" else {"layer_norm_eps": 1e-12}
    model = stack(source, pad_token_id=pad, **more)
    student = translation(model, target)
    for ours, theirs in zip(states(student, pad), states(model, pad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert student.config.id2label == model.config.id2label


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_hidden_words_are_predicted_as_the_teacher_does(source: str, target: str) -> None:
    """The head for hidden words has other names everywhere, and a bias of its own."""
    more = {} if source == "distilbert" else {"layer_norm_eps": 1e-12}
    torch.manual_seed(0)
    config = stack(source, pad_token_id=1, **more).config
    model = new_network(config, WORDS).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("bias", "norm.weight", "Norm.weight")):
                weight.add_(torch.randn_like(weight))
    student = translation(model, target, problem=WORDS)
    tokens = torch.tensor([[5, 9, 11, 40, 3, 7], [6, 8, 30, 2, 1, 1]])
    mask = (tokens != 1).long()
    mask[0] = 1
    with torch.no_grad():
        ours, theirs = (m(tokens, attention_mask=mask).logits for m in (student, model))
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], rtol=1e-4, atol=1e-4)


def test_some_layers_of_it() -> None:
    model = stack("bert")
    student = translation(model, "distilbert", layers=2)
    for new, old in enumerate((0, 3)):
        ours = student.distilbert.transformer.layer[new].attention.q_lin.weight
        assert torch.equal(ours, model.bert.encoder.layer[old].attention.self.query.weight)


def test_the_head_is_new() -> None:
    model = stack("bert")
    torch.manual_seed(1)
    one = translation(model, "distilbert")
    torch.manual_seed(2)
    two = translation(model, "distilbert")
    assert not torch.equal(one.classifier.weight, two.classifier.weight)
    words = (m.base_model.embeddings.word_embeddings.weight for m in (one, model))
    assert torch.equal(*words)


@pytest.mark.parametrize(
    ("config", "target", "match"),
    [
        (AutoConfig.for_model("gpt2"), "bert", "weights of gpt2 cannot be copied"),
        (AutoConfig.for_model("bert"), "gpt2", "architecture=gpt2"),
        (AutoConfig.for_model("electra"), "bert", "128 wide, its layers 256"),
    ],
)
def test_what_does_not_compute_the_same_is_refused(
    config: PretrainedConfig, target: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        translated(config, target)


def test_a_translated_student_is_trained(lab: Callable[..., Result]) -> None:
    result = lab(
        "student=layers", "student.num_layers=2", "student.architecture=distilbert",
        "student.hidden_size=16", "trainer.max_epochs=2",
    )  # fmt: skip
    assert result.metrics["student"]["accuracy"] > 0.6
