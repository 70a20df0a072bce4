"""Objectives that look inside the models: layers, terms, weights, refusals, and that they train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoConfig, BertConfig, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.forward import forward
from distill_lab.objectives import Objective
from distill_lab.objectives.attention import AttentionTransfer, attention_pairs
from distill_lab.objectives.combine import Combine
from distill_lab.objectives.distilbert import DistilBERT
from distill_lab.objectives.hidden import Hidden
from distill_lab.objectives.hinton import Hinton
from distill_lab.objectives.minilm import MiniLM
from distill_lab.objectives.minilm_v2 import MiniLMv2
from distill_lab.objectives.pkd import PKD, patient_pairs
from distill_lab.objectives.rkd import RKD
from distill_lab.objectives.tinybert import TinyBERT
from distill_lab.results import Result
from distill_lab.types import Batch, Fit, Outputs, Problem, Term
from tests.stacks import stack

CLASSES = Problem("classification", ("a", "b", "c"))
NUMBERS = Problem("regression", ("score",))


def bert(layers: int = 4, width: int = 16, heads: int = 2, **more: Any) -> BertConfig:
    return BertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, **more
    )


def fit(student: Any = None, teacher: Any = None, problem: Problem = CLASSES) -> Fit:
    return Fit(problem, student or bert(2), teacher or bert())


# The weights of the terms of each objective with its settings; those without λ stay as they are.
EXPECTED: dict[str, tuple[Objective, dict[str, float]]] = {
    "hidden": (Hidden(lam=0.3), {"hard": 0.7, "hidden": 0.3}),
    "distilbert": (DistilBERT(), {"soft": 20, "hard": 2, "cosine": 1}),
    "attention": (AttentionTransfer(lam=0.3), {"hard": 0.7, "attention": 0.3}),
    "minilm": (MiniLM(lam=0.3), {"hard": 0.7, "attention": 0.3, "values": 0.3}),
    "minilm_v2": (
        MiniLMv2(lam=0.3, relation_heads=4),
        {"hard": 0.7, "queries": 0.1, "keys": 0.1, "values": 0.1},
    ),
    "pkd": (PKD(temperature=3.0, lam=0.3, beta=7.0), {"hard": 0.7, "soft": 2.7, "patient": 7}),
    "tinybert": (TinyBERT(), {"attention": 1, "hidden": 1, "embeddings": 1}),
    "rkd": (RKD(lam=0.3, distance=2.0, angle=4.0), {"hard": 0.7, "distances": 0.6, "angles": 1.2}),
}
EVERY = pytest.mark.parametrize("name", EXPECTED)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4, [1] * 7 + [0] * 2])
    ids = torch.randint(1, 50, (3, 9), generator=generator) * mask
    inputs = {"input_ids": ids, "attention_mask": mask}
    return Batch(torch.arange(3), inputs, torch.tensor([0, 2, 1]))


def answers(
    objective: Objective, same: bool = False, kind: str = "bert"
) -> tuple[Outputs, Outputs]:
    """Both models' outputs for the batch, after `prepare`; `same` takes the teacher twice."""
    teacher = stack(kind)
    student = teacher if same else stack(kind, **_layers(kind, 2))
    objective.prepare(Fit(CLASSES, student.config, teacher.config))
    return both(objective, student, teacher, batch())


def both(
    objective: Objective, student: PreTrainedModel, teacher: PreTrainedModel, rows: Batch
) -> tuple[Outputs, Outputs]:
    with torch.no_grad():
        taught = forward(teacher, rows, objective.needs.teacher)
    return forward(student, rows, objective.needs.student), taught


def _layers(kind: str, count: int) -> dict[str, int]:
    return {{"distilbert": "n_layers", "gpt2": "n_layer"}.get(kind, "num_hidden_layers"): count}


def loss(terms: dict[str, Term], without: str = "") -> torch.Tensor:
    return torch.stack([t.part(batch()) for name, t in terms.items() if name != without]).sum()


@EVERY
def test_weights_of_the_terms(name: str) -> None:
    objective, expected = EXPECTED[name]
    terms = objective(*answers(objective), batch())
    assert {term: value.weight for term, value in terms.items()} == pytest.approx(expected)


@EVERY
@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "llama"]
)
def test_every_encoder_can_be_taught(name: str, kind: str) -> None:
    """And a model that looks left where that means something; the loss depends on the student."""
    objective = EXPECTED[name][0]
    if name == "pkd" and kind in ("gpt2", "llama"):
        with pytest.raises(ConfigError, match="first token"):
            answers(objective, kind=kind)
        return
    found = objective(*answers(objective, kind=kind), batch())
    for term, value in found.items():
        assert torch.isfinite(value.total) and value.total.requires_grad, term


@EVERY
def test_the_teacher_itself_costs_nothing(name: str) -> None:
    objective = EXPECTED[name][0]
    terms = objective(*answers(objective, same=True), batch())
    assert loss(terms, without="hard").item() == pytest.approx(0, abs=2e-4)


@EVERY
def test_padding_changes_nothing(name: str) -> None:
    objective = EXPECTED[name][0]
    teacher, student = stack("bert"), stack("bert", num_hidden_layers=2)
    objective.prepare(Fit(CLASSES, student.config, teacher.config))
    short, long = batch(), batch()
    long.inputs = {k: torch.cat([v, torch.zeros_like(v)], dim=1) for k, v in short.inputs.items()}
    values = []
    for rows in (short, long):
        s, t = both(objective, student, teacher, rows)
        values.append({k: term.mean(rows).item() for k, term in objective(s, t, rows).items()})
    assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize("name", [n for n in EXPECTED if n not in ("distilbert", "pkd")])
def test_a_regression_can_be_taught(name: str) -> None:
    """Beside labels that are numbers."""
    objective = EXPECTED[name][0]
    student, teacher = (stack("bert", num_labels=1, num_hidden_layers=n) for n in (2, 4))
    objective.prepare(Fit(NUMBERS, student.config, teacher.config))
    rows = batch()
    rows.labels = torch.tensor([0.5, -1.0, 2.0])
    terms = objective(*both(objective, student, teacher, rows), rows)
    torch.stack([term.part(rows) for term in terms.values()]).sum().backward()
    assert all(torch.isfinite(term.total) for term in terms.values())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


@pytest.mark.parametrize("name", ["distilbert", "pkd"])
def test_a_regression_has_no_probabilities(name: str) -> None:
    with pytest.raises(ConfigError, match="regression"):
        EXPECTED[name][0].prepare(fit(problem=NUMBERS))


@pytest.mark.parametrize("name", ["attention", "tinybert"])
def test_a_student_that_would_meet_the_embeddings_attention_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the teacher's embeddings, which have no attention"):
        EXPECTED[name][0].prepare(fit(bert(4), bert(2)))


@pytest.mark.parametrize("name", ["attention", "minilm", "tinybert"])
def test_unequal_heads_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="4 attention heads, the teacher 2"):
        EXPECTED[name][0].prepare(fit(bert(2, heads=4)))


@pytest.mark.parametrize("name", ["attention", "minilm", "minilm_v2", "tinybert"])
def test_attention_that_cannot_be_had_is_refused(name: str) -> None:
    odd = AutoConfig.for_model("megatron-bert", num_hidden_layers=2, num_attention_heads=2)
    with pytest.raises(ConfigError, match=r"student \(megatron-bert\)"):
        EXPECTED[name][0].prepare(fit(odd))


@pytest.mark.parametrize("name", ["attention", "minilm", "minilm_v2", "tinybert"])
def test_looking_left_and_looking_both_ways_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="to the left"):
        EXPECTED[name][0].prepare(fit(teacher=AutoConfig.for_model("gpt2", n_layer=4, n_head=2)))


@pytest.mark.parametrize("name", ["pkd", "distilbert"])
def test_unequal_widths_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="8 wide, the teacher 16"):
        EXPECTED[name][0].prepare(fit(bert(2, width=8)))


@pytest.mark.parametrize("name", ["hidden", "minilm", "minilm_v2", "tinybert", "rkd", "attention"])
def test_unequal_widths_are_bridged(name: str) -> None:
    """Where projections bridge them, every one receives a gradient."""
    objective = EXPECTED[name][0]
    teacher, student = stack("bert"), stack("bert", num_hidden_layers=2, hidden_size=8)
    torch.manual_seed(0)
    objective.prepare(Fit(CLASSES, student.config, teacher.config))
    s, t = both(objective, student, teacher, batch())
    loss(objective(s, t, batch())).backward()
    drawn = list(objective.parameters())
    assert len(drawn) == {"hidden": 2, "tinybert": 4}.get(name, 0)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in drawn)


def test_layers_of_pkd() -> None:
    assert patient_pairs(6, 12, "skip") == [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]
    assert patient_pairs(6, 12, "last") == [(1, 7), (2, 8), (3, 9), (4, 10), (5, 11)]


def test_layers_of_attention() -> None:
    assert attention_pairs(3, 6, "uniform") == [(1, 2), (2, 4), (3, 6)]
    assert attention_pairs(3, 6, "last") == [(3, 6)]
    with pytest.raises(ConfigError, match="no attention"):
        attention_pairs(3, 6, [[0, 1]])


@pytest.mark.parametrize(
    ("objective", "student", "match"),
    [
        (PKD(), bert(1), "none below its last"),
        (PKD(), bert(6), "only 4"),
        (MiniLM(teacher_layer=5), bert(2), "layers 1 to 4"),
        (MiniLMv2(teacher_layer=0, relation_heads=2), bert(2), "layers 1 to 4"),
        (MiniLMv2(relation_heads=3), bert(2), "student's width of 16"),
        (MiniLMv2(relation_heads=8), bert(2, width=20), "student's width of 20"),
    ],
)
def test_misfits_are_refused(objective: Objective, student: BertConfig, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        objective.prepare(fit(student))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: PKD(beta=-1.0), "beta"),
        (lambda: RKD(distance=-1.0), "distance"),
        (lambda: RKD(distance=0.0, angle=0.0), "angle"),
        (lambda: MiniLMv2(relation_heads=0), "relation_heads"),
        (lambda: TinyBERT(intermediate=1.0), "intermediate"),
        (lambda: Combine(parts={}, weights={}), "weights"),
        (lambda: Combine(parts={"a": Hinton()}, weights={"b": 1.0}), "weights"),
        (lambda: Combine(parts={"a": Hinton()}, weights={"a": -1.0}), r"weights\.a"),
        (lambda: Combine(parts={"a": Hinton()}, weights={"a": [1.0, 2.0, 3.0]}), r"weights\.a"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Objective], key: str) -> None:
    with pytest.raises(ConfigError, match=f"objective\\..*{key}"):
        make()


def test_tinybert_goes_on_to_the_predictions() -> None:
    objective = TinyBERT(temperature=2.0, lam=0.75)
    s, t = answers(objective)
    assert set(objective(s, t, batch())) == {"attention", "hidden", "embeddings"}
    objective.stage = 1
    later = objective(s, t, batch())
    hinton = Hinton(temperature=2.0, lam=0.75)(s, t, batch())
    assert {k: (v.total.item(), v.weight) for k, v in later.items()} == {
        k: (v.total.item(), v.weight) for k, v in hinton.items()
    }
    assert not objective.needs.teacher.attention and not objective.needs.teacher.hidden_states


def test_combine_is_the_weighted_sum() -> None:
    parts = {"soft": Hinton(temperature=2.0, lam=0.6), "layers": Hidden(lam=0.3)}
    objective = Combine(parts=parts, weights={"soft": 2.0, "layers": [1.0, 0.0]})
    s, t = answers(objective)
    for progress, share in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        objective.progress = progress
        found = objective(s, t, batch())
        assert set(found) == {"hard", "soft/soft", "layers/hidden"}
        alone = 2 * loss(parts["soft"](s, t, batch())) + share * loss(
            parts["layers"](s, t, batch())
        )
        torch.testing.assert_close(loss(found), alone)


def test_combine_trains_the_projections_of_its_parts_and_refuses_stages() -> None:
    objective = Combine(parts={"a": Hidden(), "b": RKD()}, weights={"a": 1.0, "b": 1.0})
    objective.prepare(fit(bert(2, width=8)))
    assert len(list(objective.parameters())) == 2
    assert objective.needs.student.hidden_states == (0, 1, 2)
    staged = Combine(parts={"a": TinyBERT()}, weights={"a": 1.0})
    with pytest.raises(ConfigError, match="in stages"):
        staged.prepare(fit())


TRAINED = {
    "hidden": "hidden",
    "distilbert": "cosine",
    "attention": "attention",
    "minilm": "values",
    "minilm_v2": "queries",
    "pkd": "patient",
    "tinybert": "attention",
    "rkd": "distances",
    "combine": "hidden/hidden",
}


@pytest.mark.parametrize("name", TRAINED)
def test_they_train(name: str, lab: Callable[..., Result], tmp_path: Path) -> None:
    more = ["objective.relation_heads=8"] if name == "minilm_v2" else []
    lab(f"objective={name}", "baseline=false", *more)
    log = pd.read_csv(tmp_path / "run" / "metrics.csv")
    curve = log[f"train/{TRAINED[name]}"].dropna()
    assert len(curve) > 5 and curve.iloc[-5:].mean() < curve.iloc[:5].mean()


def test_both_stages_of_tinybert_are_trained_each_with_its_own_rate(
    lab: Callable[..., Result], tmp_path: Path
) -> None:
    lab(
        "objective=tinybert", "objective.intermediate=0.5", "baseline=false",
        "+callbacks.rate={_target_: pytorch_lightning.callbacks.LearningRateMonitor}",
    )  # fmt: skip
    log = pd.read_csv(tmp_path / "run" / "metrics.csv")
    steps = log["train/loss"].notna()
    inside, answers = log[steps]["train/attention"].notna(), log[steps]["train/soft"].notna()
    assert (inside != answers).all() and inside.iloc[0] and answers.iloc[-1]
    assert inside.sum() == pytest.approx(len(inside) / 2, abs=1)
    rate = log["lr-AdamW/pg1"].dropna().to_numpy()
    half = len(rate) // 2
    assert rate[half] == 0 < rate[half - 1] and rate[:half] == pytest.approx(rate[half:])


def test_a_projection_is_in_the_checkpoint_and_not_in_the_student(
    lab: Callable[..., Result], tmp_path: Path
) -> None:
    lab(
        "objective=hidden", "baseline=false", "student=scratch",
        "student.sizes={model_type: bert, num_hidden_layers: 2, hidden_size: 16,"
        " num_attention_heads: 2, intermediate_size: 32}",
    )  # fmt: skip
    state = torch.load(next((tmp_path / "run" / "checkpoints").iterdir()), weights_only=True)
    names = set(state["state_dict"])
    assert "objective.projection.weight" in names
    assert all(name.startswith(("model.", "objective.")) for name in names)
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "run" / "student" / "model.safetensors")
    assert not any("projection" in key for key in saved)
