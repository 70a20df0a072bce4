"""Question answering from a file to a result: every objective, the store, devices, accumulation."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedModel

from distill_lab.errors import ConfigError
from distill_lab.forward import forward
from distill_lab.heads import new_network
from distill_lab.hydra_entry import compose
from distill_lab.objectives import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.hinton import Hinton
from distill_lab.results import Result
from distill_lab.run import run
from distill_lab.spans import of_tokens
from distill_lab.students import Layers
from distill_lab.tasks import Data
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.questions import read_squad, to_questions
from distill_lab.tasks.squad_score import squad_scores
from distill_lab.tasks.windows import WindowRows, encode_windows
from distill_lab.types import Batch, Fit, Problem, Term
from tests.conftest import TINY, besides
from tests.objectives.test_whole import WHOLE
from tests.stacks import SIZES, stack
from tests.tasks.squad_files import folder

SPANS = Problem("spans", ("start", "end"))
FIXED = ("mse_logits", "logit_standardized", "dist")  # whose classes may not differ by row


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("squad"))


@pytest.fixture
def squad(data: Path, encoder: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run question answering with a tiny teacher and further overrides."""

    def go(*overrides: str, out: str = "run") -> Result:
        base = [
            "task=squad", f"task.data_dir={data}",
            "task.files={train: train.json, evaluation: dev.json}",
            "task.max_length=32", "task.stride=8", "task.max_question=8",
            f"teacher.model={encoder}", "teacher.epochs=1", "teacher.lr=2e-3",
            "teacher.min_over_chance=-1", "student=layers", "student.num_layers=2", "optim.lr=1e-3",
            "optim.batch_size=16", "trainer.max_epochs=1", "trainer.accelerator=cpu",
            "trainer.log_every_n_steps=1", f"store_dir={tmp_path}/store",
        ]  # fmt: skip
        return run(compose(*besides(base, overrides), *overrides), tmp_path / out)

    return go


@pytest.fixture(scope="module")
def rows(data: Path, encoder: Path) -> WindowRows:
    path = data / "train.json"
    asked = to_questions(read_squad(path), str(path), False, for_training=True)
    return encode_windows(asked, AutoTokenizer.from_pretrained(encoder), 32, 8, 8)


def model(kind: str = "bert", layers: int = 4) -> PreTrainedModel:
    config = copy.deepcopy(stack(kind).config)
    config.num_labels, config.num_hidden_layers = 2, layers
    config.vocab_size, config.max_position_embeddings = 400, 64
    torch.manual_seed(layers)
    return new_network(config, SPANS).eval()


# A whole run


def test_a_run_answers_and_scores(squad: Callable[..., Result], data: Path, tmp_path: Path) -> None:
    result = squad()
    assert result.metric == "f1"
    assert list(result.metrics["student"]) == ["f1", "exact"]
    assert result.rows == {"train": 108, "selection": 12, "evaluation": 36}  # questions
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert list(table["split"].unique()) == ["evaluation"] and len(table) == 36
    contexts = {
        q["id"]: p["context"]
        for a in json.loads((data / "dev.json").read_text())["data"]
        for p in a["paragraphs"]
        for q in p["qas"]
    }
    for name in ("teacher", "student", "baseline"):
        assert table[f"{name}_f1"].mean() == pytest.approx(result.metrics[name]["f1"])
        assert table[f"{name}_exact"].mean() == pytest.approx(result.metrics[name]["exact"])
        for question, answer in zip(table["question"], table[name], strict=True):
            assert answer and answer in contexts[question].lower()


def test_the_student_loads_in_transformers_and_gives_the_recorded_answers(
    squad: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    squad("task.max_length=64", "task.max_question=30")
    place = tmp_path / "run" / "student"
    card = (place / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card
    code = card.split("```python\n")[1].split("```")[0]
    exec(code.replace('"student"', repr(str(place))), {})
    network = AutoModelForQuestionAnswering.from_pretrained(place).eval()
    tokenizer = AutoTokenizer.from_pretrained(place)
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    asked = {
        q["id"]: (q["question"], p["context"])
        for a in json.loads((data / "dev.json").read_text())["data"]
        for p in a["paragraphs"]
        for q in p["qas"]
    }
    compared = 0
    for question, recorded in zip(table["question"], table["student"], strict=True):
        tokens = tokenizer(*asked[question], return_tensors="pt", return_offsets_mapping=True)
        places = tokens.pop("offset_mapping")[0]
        if len(places) > 64:  # read in several windows
            continue
        compared += 1
        inside = torch.tensor([of == 1 for of in tokens.sequence_ids(0)])
        with torch.no_grad():
            answer = network(**tokens)
        sums = answer.start_logits[0][:, None] + answer.end_logits[0][None, :]
        length = torch.arange(len(inside))[None, :] - torch.arange(len(inside))[:, None]
        allowed = inside[:, None] & inside[None, :] & (length >= 0) & (length < 30)
        first, last = divmod(int(sums.masked_fill(~allowed, -1e9).argmax()), len(inside))
        text = asked[question][1][places[first][0] : places[last][1]].strip()
        assert text == recorded
    assert compared > 5


def test_a_teacher_that_is_finetuned_is_taken_as_it_is(
    squad: Callable[..., Result], tmp_path: Path
) -> None:
    first = squad()
    teacher = next((tmp_path / "store" / "teachers").glob("*/config.json")).parent
    second = squad(f"teacher.model={teacher}", "teacher.epochs=9", out="second")
    assert second.metrics["teacher"] == first.metrics["teacher"]
    assert second.metrics["student"] == first.metrics["student"]


@pytest.mark.parametrize("objective", ["hinton", "minilm_v2"])
def test_cache_on_equals_cache_off(
    objective: str, squad: Callable[..., Result], tmp_path: Path
) -> None:
    """The same losses at every step: the store holds each token's two logits."""
    given = [f"objective={objective}", "teacher.cache_dtype=float32", "baseline=false"]
    given += ["objective.relation_heads=2"] if objective == "minilm_v2" else []
    results = {when: squad(*given, f"teacher.cache={when}", out=when) for when in ("on", "off")}
    on, off = (pd.read_csv(tmp_path / when / "metrics.csv") for when in ("on", "off"))
    names = [name for name in on if name.startswith("train/")]
    assert {"train/loss", "train/hard"} <= set(names) and len(on) > 5
    pd.testing.assert_frame_equal(on[names], off[names], rtol=1e-5, atol=1e-6)
    assert results["on"].metrics["teacher"] == results["off"].metrics["teacher"]
    again = squad(*given, "teacher.cache=on", out="again")
    assert again.fingerprints["student"] == results["on"].fingerprints["student"]


def test_windows_cut_otherwise_are_other_signals(
    squad: Callable[..., Result], tmp_path: Path
) -> None:
    squad("baseline=false")
    squad("baseline=false", "task.stride=4", out="other")
    assert len(list((tmp_path / "store" / "rows").glob("*/rows.safetensors"))) == 2
    assert len(list((tmp_path / "store" / "signals").glob("*/0*.safetensors"))) == 2
    assert len(list((tmp_path / "store" / "teachers").glob("*/config.json"))) == 2


def test_questions_without_answers(encoder: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "data", unanswerable=True)
    config = compose(
        "task=squad_v2", f"task.data_dir={place}",
        "task.files={train: train.json, evaluation: dev.json}", "task.max_length=32",
        "task.stride=8", "task.max_question=8", f"teacher.model={encoder}", "teacher.epochs=1",
        "teacher.min_over_chance=-1", "student=layers", "student.num_layers=2",
        "trainer.max_epochs=1", "trainer.accelerator=cpu", f"store_dir={tmp_path}/store",
    )  # fmt: skip
    result = run(config, tmp_path / "run")
    parts = {"f1", "exact", "f1_has_answer", "exact_has_answer", "f1_no_answer", "exact_no_answer"}
    assert set(result.metrics["student"]) == parts | {"f1_threshold", "exact_threshold"}
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert (table["label"].map(len) == 0).sum() == 12


REFUSED = {
    "top k": ("teacher.cache_top_k=5", "teacher.cache_top_k=5: the classes of an answer's ends"),
    "an ensemble": ("teacher=ensemble teacher.models=[{encoder}]", "teacher=ensemble: the answers"),
    "own tokens": (
        "student=pretrained student.model={encoder} student.own_tokenizer=true",
        "student.own_tokenizer=true: answers are tokens",
    ),
    "an objective on logits": ("objective=dist", "objective=dist: in question answering"),
    "a file that is not there": ("task.files.train=no.json", "no.json: there is no such file"),
    "windows longer than the model": ("task.max_length=99", "task.max_length=99: teacher.model="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(
    name: str, squad: Callable[..., Result], encoder: Path
) -> None:
    line, said = REFUSED[name]
    overrides = line.format(encoder=encoder).split()
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        squad(*(o for o in overrides))


# Objectives


@pytest.mark.parametrize("name", WHOLE)
def test_every_objective_answers_spans_or_says_why_not(name: str, rows: WindowRows) -> None:
    """And padding changes no term: the windows of a batch have the terms that each has alone."""
    objective: Objective = copy.deepcopy(WHOLE[name])
    student, teacher = model(layers=2), model()
    fit = Fit(SPANS, student.config, teacher.config)
    if name in FIXED:
        with pytest.raises(ConfigError, match=f"objective={name}: in question answering"):
            objective.prepare(fit)
        return
    objective.prepare(fit)

    def terms(at: list[int]) -> tuple[Batch, dict[str, Term]]:
        batch = rows.__getitems__(at)
        sides = [forward(model(layers=n), batch, w) for n, w in (
            (2, objective.needs.student), (4, objective.needs.teacher))]  # fmt: skip
        return batch, objective(*sides, batch)

    lengths = rows.lengths
    chosen = [int(lengths.argmin()), int(lengths.argmax()), 3]
    batch, whole = terms(chosen)
    assert batch.count("answers") == 6
    for term in whole.values():
        assert torch.isfinite(term.total)
    if any(term.unit in ("batch", "row_pairs") for term in whole.values()):
        return
    alone = [terms([at])[1] for at in chosen]
    for key, term in whole.items():
        total = sum(part[key].total for part in alone)
        torch.testing.assert_close(term.total, total, rtol=1e-4, atol=1e-4)


def test_hinton_is_the_mean_over_both_ends(rows: WindowRows) -> None:
    """As in `run_squad_w_distillation.py`, but for its padding: (start + end) / 2, mean of rows."""
    objective, at = Hinton(temperature=2.0, lam=0.5), [4, 9, 2]
    batch = rows.__getitems__(at)
    student, teacher = (forward(model(layers=n), batch) for n in (2, 4))
    found = objective(student, teacher, batch)
    soft, hard = list[torch.Tensor](), list[torch.Tensor]()
    for row in at:
        one = rows.__getitems__([row])
        ours, theirs = (model(layers=n)(**one.inputs) for n in (2, 4))
        labels = one.labels
        for side in ("start_logits", "end_logits"):
            s, t = (getattr(each, side)[0] for each in (ours, theirs))
            p, q = (t / 2).softmax(-1), (s / 2).softmax(-1)
            soft.append((p * (p / q).log()).sum())
            label = labels[0 if side == "start_logits" else 1]
            hard.append(-s.log_softmax(-1)[label])
    torch.testing.assert_close(found["soft"].mean(batch), torch.stack(soft).mean())
    torch.testing.assert_close(found["hard"].mean(batch), torch.stack(hard).mean())
    assert found["soft"].weight == 0.5 * 2.0**2


def test_accumulated_batches_weigh_as_their_answers_do(rows: WindowRows) -> None:
    student = model(layers=2)

    def gradient(batches: list[Batch], shares: int) -> torch.Tensor:
        student.zero_grad()
        for batch in batches:
            logits = forward(student, batch).logits
            term = Term(hard_loss(logits, batch.labels), "answers", 1.0)
            (term.part(batch) / shares).backward()
        return student.qa_outputs.weight.grad.clone()

    parts = list(training_batches(rows, 8, seed=1, accumulate=3))[:3]
    positions = rows.positions(torch.cat([part.ids for part in parts]).numpy()).tolist()
    whole = gradient([rows.__getitems__(positions)], 1)
    torch.testing.assert_close(gradient(parts, 3), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [k for k in SIZES if k not in ("megatron-bert",)])
def test_every_architecture_gives_both_ends(kind: str, rows: WindowRows) -> None:
    network = model(kind) if kind not in ("distilbert", "gpt2") else None
    if network is None:
        config = copy.deepcopy(stack(kind).config)
        config.num_labels, config.vocab_size = 2, 400
        network = new_network(config, SPANS).eval()
    batch = rows.__getitems__([0, 5])
    logits = forward(network, batch).logits
    assert logits.shape == (4, batch.mask.shape[1])
    assert of_tokens(logits, batch.mask).shape == (int(batch.mask.sum()), 2)


def test_a_distilbert_gets_the_head_too() -> None:
    teacher = new_network(AutoConfig.for_model(**TINY, vocab_size=400, num_labels=2), SPANS)
    student = Layers(num_layers=2, architecture="distilbert")
    source = type("Source", (), {"model": teacher})()
    data = Data(None, None, {}, None, {}, 32, SPANS)  # type: ignore[arg-type]
    built = student.build(source, data)
    assert torch.equal(built.qa_outputs.weight, teacher.qa_outputs.weight)
    assert torch.equal(built.qa_outputs.bias, teacher.qa_outputs.bias)


def test_scores_of_a_run_are_those_of_its_predictions(
    squad: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    result = squad("baseline=false")
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    asked = to_questions(read_squad(data / "dev.json"), "dev", False, for_training=False)
    given = dict(zip(table["question"], table["student"], strict=True))
    assert squad_scores(asked, given, False) == pytest.approx(result.metrics["student"])
