"""Rows without labels: read, taught by the teacher alone, and left out of the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from distill_lab.config import build
from distill_lab.errors import ConfigError, DataError
from distill_lab.hydra_entry import compose
from distill_lab.launch.forecast import foresee
from distill_lab.objectives.dkd import DKD
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.hinton import Hinton
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.tasks import Domain, TextFiles
from distill_lab.tasks.rows import Rows
from distill_lab.transfer import _attention, terms_of
from distill_lab.types import Attention, Batch, Outputs
from tests.conftest import besides, sentences
from tests.objectives.test_whole import batch, prepared


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    sentences(400).to_csv(folder / "films.csv", index=False)
    target = sentences(200, seed=7)
    target["text"] = "product " + target["text"]
    target.to_csv(folder / "products.csv", index=False)
    return folder


def domain(files: Path, **settings: object) -> Domain:
    source = TextFiles(
        train_file=str(files / "films.csv"), text="text", label="label", metrics=["accuracy"]
    )
    return Domain(source=source, target_file=str(files / "products.csv"), **settings)  # type: ignore[arg-type]


def line(files: Path, encoder: Path, tmp_path: Path) -> list[str]:
    """Return what is typed for a small run."""
    return [
        "task=domain",
        f"task.target_file={files}/products.csv",
        "~task.source",
        "+task.source={_target_: distill_lab.tasks.TextFiles, train_file:"
        f" {files}/films.csv, text: text, label: label, metrics: [accuracy], max_length: 32}}",
        f"teacher.model={encoder}", "teacher.epochs=4", "teacher.batch_size=8",
        "teacher.lr=2e-3", "student=layers", "student.num_layers=2", "optim.lr=1e-3",
        "optim.batch_size=8", "trainer.max_epochs=2", "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1", f"store_dir={tmp_path}/store",
    ]  # fmt: skip


@pytest.fixture
def adapt(files: Path, encoder: Path, tmp_path: Path) -> Callable[..., Result]:
    def go(*overrides: str, out: str = "run") -> Result:
        base = line(files, encoder, tmp_path)
        return run(compose(*besides(base, overrides), *overrides), tmp_path / out)

    return go


# Reading


@pytest.mark.parametrize("transfer", ["target", "source", "both"])
def test_the_transfer_set_is_what_was_asked_for(transfer: str, files: Path) -> None:
    splits = domain(files, transfer=transfer).load()
    train, held_out = splits.train, splits.evaluation["evaluation"]
    assert isinstance(train, Rows) and isinstance(held_out, Rows)
    products = [text.startswith("product ") for text in train.text]
    bare = train.labels == -100
    assert products == bare.tolist()
    expected = {"target": (100, 100), "source": (0, 288), "both": (100, 388)}[transfer]
    assert (sum(products), len(train)) == expected
    assert len(set(train.ids.tolist())) == len(train)
    assert set(held_out.labels.tolist()) == {0, 1} and len(held_out) == 100
    assert not set(held_out.text) & set(train.text)
    assert list(splits.evaluation) == ["evaluation", "source"]
    taught = splits.teacher_train
    assert (taught is None) == (transfer == "source")
    assert taught is None or (isinstance(taught, Rows) and len(taught) == 288)


def test_labels_of_the_target_are_those_of_the_source(files: Path, tmp_path: Path) -> None:
    table = pd.read_csv(files / "products.csv")
    table.loc[3, "label"] = "mixed"
    table.to_csv(tmp_path / "products.csv", index=False)
    made = domain(files)
    made.target_file = tmp_path / "products.csv"
    with pytest.raises(DataError, match="line 5: 'mixed' is not one of the labels negative"):
        made.load()
    with pytest.raises(ConfigError, match=r"task\.held_out=1"):
        domain(files, held_out=1)


# The loss


def rows(labels: list[float], kind: torch.dtype = torch.int64) -> Batch:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    return Batch(torch.arange(4), {"attention_mask": mask}, torch.tensor(labels, dtype=kind))


def outputs(seed: int) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    return Outputs(
        torch.randn(4, 3, generator=generator),
        {0: torch.randn(4, 3, 5, generator=generator)},
        {},
    )


def test_rows_without_a_label_are_taught_with_lam_1() -> None:
    student, teacher, given = outputs(0), outputs(1), rows([2, -100, 0, -100])
    objective = Hinton(temperature=2.0, lam=0.3)
    terms = terms_of(objective, student, teacher, given)
    assert set(terms) == {"hard", "soft", "soft_unlabelled"}
    loss = sum(term.part(given) for term in terms.values())
    p, q = ((x.logits / 2).log_softmax(-1) for x in (teacher, student))
    kl = (p.exp() * (p - q)).sum(-1)
    ce = [-student.logits[i].log_softmax(-1)[y] for i, y in ((0, 2), (2, 0))]
    expected = 0.7 * sum(ce) + 4 * (0.3 * (kl[0] + kl[2]) + kl[1] + kl[3])
    torch.testing.assert_close(loss, expected / 4)
    assert objective.lam == 0.3


def test_nothing_changes_where_all_rows_have_labels() -> None:
    student, teacher, given = outputs(0), outputs(1), rows([2, 1, 0, 1])
    objective = Hinton(lam=0.3)
    ours, plain = terms_of(objective, student, teacher, given), objective(student, teacher, given)
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name].total, plain[name].total) for name in plain)


@pytest.mark.parametrize("name", ["hidden", "pkd", "attention", "minilm_v2", "distilbert", "jsd"])
def test_both_parts_sum_to_the_whole(name: str) -> None:
    """What does not look at labels has the same total, whichever rows have them."""
    objective, ask = prepared(name)
    objective.lam = 1.0
    whole = batch()
    part = replace(whole, labels=whole.labels.masked_fill(torch.arange(len(whole)) == 1, -100))
    student, teacher = ask("student", whole), ask("teacher", whole)
    expected, found = (
        objective(student, teacher, whole),
        terms_of(objective, student, teacher, part),
    )
    for key, term in expected.items():
        if key == "hard":
            continue
        both = [found[key], found[f"{key}_unlabelled"]]
        torch.testing.assert_close(sum(each.total for each in both), term.total)
        assert {each.unit for each in both} == {term.unit}
        assert {each.weight for each in both} == {term.weight}
    known = [0, 2]
    hard = hard_loss(student.logits[known], whole.labels[known])
    torch.testing.assert_close(found["hard"].total, hard)
    gradient = torch.autograd.grad(sum(t.part(part) for t in found.values()), student.logits)[0]
    assert torch.isfinite(gradient).all()


def test_a_number_that_is_not_known_costs_nothing() -> None:
    logits = torch.tensor([[1.0], [2.0], [5.0], [0.0]], requires_grad=True)
    labels = torch.tensor([0.0, float("nan"), 4.0, float("nan")])
    loss = hard_loss(logits, labels)
    assert loss.item() == 2.0
    loss.backward()
    assert logits.grad is not None and logits.grad[:, 0].tolist() == [2.0, 0.0, 2.0, 0.0]


def test_attention_of_some_rows() -> None:
    side = Attention(*(torch.randn(4, 2, 3, 5) for _ in range(3)), 0.5, torch.ones(4, 1, 3, 3) > 0)
    part = _attention(side, torch.tensor([True, False, True, False]))
    assert torch.equal(part.queries, side.queries[[0, 2]])
    assert part.allowed is not None and part.allowed.shape == (2, 1, 3, 3)


# Runs


@pytest.mark.parametrize("transfer", ["target", "both"])
def test_a_student_learns_a_domain_without_its_labels(
    transfer: str, adapt: Callable[..., Result], tmp_path: Path
) -> None:
    result = adapt(f"task.transfer={transfer}")
    assert result.rows["evaluation"] == 100 and result.rows["source"] == 80
    assert set(result.metrics["student"]) == {"accuracy", "accuracy_source"}
    assert result.main("teacher") > 0.8 and result.main("student") > 0.7
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert "train/soft_unlabelled" in curve
    assert ("train/hard" in curve) == (transfer == "both")
    assert result.cost["baseline"]["examples"] == 2 * 288  # the labelled rows


@pytest.mark.parametrize("transfer", ["target", "both"])
def test_what_it_takes_is_foreseen(
    transfer: str, files: Path, encoder: Path, tmp_path: Path
) -> None:
    typed = [*line(files, encoder, tmp_path), f"task.transfer={transfer}", "baseline=false"]
    (found,) = foresee([compose(*typed)], pieces=True)
    told = {piece.kind: piece.seconds for piece in found.pieces}
    assert not found.faults and told.keys() == {"teacher", "signals", "student"}
    assert all(seconds > 0 for seconds in told.values())


def test_what_is_learned_from_changes_no_teacher(
    adapt: Callable[..., Result], tmp_path: Path
) -> None:
    fast = ("trainer.max_steps=2", "teacher.min_over_chance=-1")
    results = [adapt(f"task.transfer={t}", *fast, out=t) for t in ("target", "source", "both")]
    assert len(list((tmp_path / "store" / "teachers").glob("*/config.json"))) == 1
    assert len({result.fingerprints["teacher"] for result in results}) == 1
    assert len({result.fingerprints["train"] for result in results}) == 3


def test_an_objective_that_needs_labels_is_refused(
    adapt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DKD, "prepare", lambda self, fit: None)  # two classes are too few for it
    with pytest.raises(ConfigError, match="DKD divides the teacher's answer by the label"):
        adapt("objective=dkd")


def test_real_reviews_are_read(shared: Path) -> None:
    config = compose(
        "task=domain",
        f"task.source.data_dir={shared}/data/glue/SST-2",
        f"task.target_file={shared}/data/customer-reviews/all.csv",
        "task.skip_incomplete=true",
    )
    splits = build(config.task).load()
    held_out = splits.evaluation["evaluation"]
    assert len(splits.train) + len(held_out) == 3775 - 4  # four are blank
    assert np.isin(held_out.labels, [0, 1]).all() and (splits.train.labels == -100).all()
