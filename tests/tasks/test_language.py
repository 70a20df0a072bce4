"""Language modelling: blocks, masks, cross-entropy, perplexity, and every objective on words."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    pipeline,
)

from distill_lab import better
from distill_lab.errors import ConfigError, DataError
from distill_lab.forward import forward
from distill_lab.heads import new_network
from distill_lab.hydra_entry import compose
from distill_lab.objectives import Objective
from distill_lab.results import Result
from distill_lab.results.cells import cells
from distill_lab.run import run
from distill_lab.store import Store
from distill_lab.tasks import CausalLM, Data, MaskedLM
from distill_lab.tasks.batching import training_batches
from distill_lab.tasks.blocks import BlockRows, MaskedRows
from distill_lab.tasks.corpus import Corpus
from distill_lab.tasks.cuts import packed, strided
from distill_lab.tasks.vocabulary import train_tokenizer
from distill_lab.types import Batch, Fit, Problem, Term
from tests.conftest import FILLER, TINY, besides
from tests.objectives.test_whole import WHOLE
from tests.stacks import stack

GPT = {"model_type": "gpt2", "n_layer": 4, "n_embd": 32, "n_head": 2}
KINDS = ("causal_lm", "masked_lm")


def text(lines: int, seed: int) -> str:
    """Sentences in which a word is told by the one before it."""
    random, found = np.random.default_rng(seed), []
    for _ in range(lines):
        at = int(random.integers(len(FILLER)))
        words = [FILLER[(at + i * i) % len(FILLER)] for i in range(int(random.integers(4, 12)))]
        found.append(" ".join(words) + ".")
    return "\n".join(found) + "\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    (folder / "train.txt").write_text(text(900, 1))
    (folder / "test.txt").write_text(text(120, 2))
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Path:
    """A folder with a tiny GPT-2 with random weights, without a head, and a tokeniser."""
    folder = tmp_path_factory.mktemp("decoder")
    tokenizer = train_tokenizer(Corpus((place / "train.txt",)), 300, 64, framed=False)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        **GPT, vocab_size=len(tokenizer), n_positions=64, bos_token_id=0, eos_token_id=0
    )
    new_network(config, Problem("causal_lm", (), len(tokenizer))).transformer.save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def models(encoder: Path, decoder: Path) -> dict[str, Path]:
    return {"masked_lm": encoder, "causal_lm": decoder}


def task(kind: str, place: Path, **settings: object) -> CausalLM | MaskedLM:
    made = CausalLM if kind == "causal_lm" else MaskedLM
    given = {"max_length": 32, "selection": 0.1, **settings}
    return made(
        name=kind, train=str(place / "train.txt"), evaluation=str(place / "test.txt"),
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def data(
    request: pytest.FixtureRequest, models: dict[str, Path], place: Path, tmp_path: Path
) -> Data:
    kind = request.param
    made = task(kind, place)
    tokenizer = AutoTokenizer.from_pretrained(models[kind])
    return made.encode(made.load(), tokenizer, Store(tmp_path / "store"))


EACH = pytest.mark.parametrize("data", KINDS, indirect=True)


def model(problem: Problem, layers: int = 4) -> PreTrainedModel:
    sizes = dict(TINY if problem.kind == "masked_lm" else GPT)
    sizes |= {"num_hidden_layers" if problem.kind == "masked_lm" else "n_layer": layers}
    sizes |= {"vocab_size": problem.words, "initializer_range": 0.2}
    torch.manual_seed(layers)
    config = AutoConfig.for_model(**sizes)
    return new_network(config, problem).eval()


@pytest.fixture
def lm(models: dict[str, Path], place: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run language modelling with a tiny teacher and further overrides."""

    def go(kind: str, *overrides: str, out: str = "run") -> Result:
        base = [
            f"task={kind}", f"task.train={place}/train.txt", f"task.evaluation={place}/test.txt",
            "task.max_length=32", "task.selection=0.1", f"teacher.model={models[kind]}",
            "teacher.epochs=2", "teacher.lr=3e-3", "teacher.batch_size=8",
            "teacher.min_over_chance=-1", "student=layers", "student.num_layers=2",
            "optim.lr=2e-3", "optim.batch_size=8", "trainer.max_epochs=1",
            "trainer.accelerator=cpu", "trainer.log_every_n_steps=1",
            f"store_dir={tmp_path}/store",
        ]  # fmt: skip
        return run(compose(*besides(base, overrides), *overrides), tmp_path / out)

    return go


# Cutting


@pytest.mark.parametrize(("tokens", "length"), [(10, 4), (8, 4), (3, 4), (9, 4)])
def test_packed_blocks_hold_every_token_once(tokens: int, length: int) -> None:
    cuts = packed(tokens, length, 1)
    assert [t for a, b in zip(cuts.starts, cuts.ends, strict=True) for t in range(a, b)] == list(
        range(tokens)
    )
    assert (cuts.ends - cuts.starts).max() <= length
    least = packed(tokens, length, 2)
    assert (least.ends - least.starts).min() >= 2


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("tokens", [2, 3, 4, 5, 9, 10, 11, 12])
def test_strided_windows_predict_every_token_but_the_first_once(tokens: int, stride: int) -> None:
    cuts, length = strided(tokens, 4, stride), 4
    predicted = [
        t
        for a, b, s in zip(cuts.starts, cuts.ends, cuts.scored, strict=True)
        for t in range(a + max(s, 1), b)
    ]
    assert predicted == list(range(1, tokens))
    for a, b, s in zip(cuts.starts[1:], cuts.ends[1:], cuts.scored[1:], strict=True):
        assert s >= length - stride and b - a <= length


# Batches


@EACH
def test_batches_ask_what_stands_in_the_text(data: Data) -> None:
    """Inputs with the labels put where they are asked for are the text again."""
    rows = data.train
    assert isinstance(rows, BlockRows)
    at = [5, 0, 3]
    batch = rows.__getitems__(at)
    assert batch.asked is not None and batch.form == "tokens"
    assert batch.count("answers") == int(rows.answers[at].sum()) == int(batch.asked.sum())
    restored = batch.inputs["input_ids"].clone()
    if data.problem.kind == "masked_lm":
        restored[batch.asked] = batch.labels
    else:
        following = torch.zeros_like(batch.asked)
        following[:, 1:] = batch.asked[:, :-1]
        assert torch.equal(restored[following], batch.labels)
    for row, position in enumerate(at):
        assert restored[row][batch.mask[row].bool()].tolist() == rows.tokens_of(position).tolist()
    assert torch.equal(batch.ids, torch.from_numpy(rows.ids[at]))


@EACH
def test_selection_blocks_are_not_trained_on(data: Data) -> None:
    train, selection = set(data.train.ids), set(data.selection.ids)
    assert not train & selection and len(selection) == round(0.1 * len(train | selection))
    assert sorted(train | selection) == list(range(len(train | selection)))


@pytest.mark.parametrize("data", ["masked_lm"], indirect=True)
def test_masks_are_drawn_from_row_and_epoch(data: Data) -> None:
    rows = data.train
    first = [batch for batch in training_batches(rows, 4, seed=1)]
    loader = training_batches(rows, 4, seed=1)
    again = list(loader)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(first, again, strict=True))
    loader.batch_sampler.set_epoch(1)  # type: ignore[union-attr]
    by_row = {int(b.ids[i]): b.inputs["input_ids"][i] for b in first for i in range(len(b))}
    later = {int(b.ids[i]): b.inputs["input_ids"][i] for b in loader for i in range(len(b))}
    differ = [
        not torch.equal(by_row[i][: len(later[i])], later[i][: len(by_row[i])]) for i in by_row
    ]
    assert np.mean(differ) > 0.9
    other = training_batches(rows, 4, seed=2)  # another order, the same masks
    masked = {int(b.ids[i]): b.inputs["input_ids"][i] for b in other for i in range(len(b))}
    n = min(len(masked[3]), len(by_row[3]))
    assert torch.equal(masked[3][:n], by_row[3][:n])


@pytest.mark.parametrize("data", ["masked_lm"], indirect=True)
def test_most_asked_words_are_hidden_some_are_others_some_stay(data: Data) -> None:
    rows = data.train
    assert isinstance(rows, MaskedRows)
    mask, hidden, same, total = data.tokenizer.mask_token_id, 0, 0, 0
    for draw in range(40):
        for at in range(0, len(rows), 3):
            block = rows.tokens_of(at)
            given, where, words = rows.posed(at, block, draw)
            assert np.array_equal(block[where], words) and len(set(where)) == len(where)
            assert where.min() > 0 and where.max() < len(block) - 1  # not what stands around
            untouched = np.setdiff1d(np.arange(len(block)), where)
            assert np.array_equal(given[untouched], block[untouched])
            hidden += (given[where] == mask).sum()
            same += (given[where] == words).sum()
            total += len(where)
    assert hidden / total == pytest.approx(0.8, abs=0.02)
    assert same / total == pytest.approx(0.1, abs=0.02)


def test_rare_words_are_hidden_more_often_if_asked(
    place: Path, encoder: Path, tmp_path: Path
) -> None:
    made = task("masked_lm", place, smoothing=0.7)
    rows = made.encode(
        made.load(), AutoTokenizer.from_pretrained(encoder), Store(tmp_path / "store")
    ).train
    assert isinstance(rows, MaskedRows) and rows.masking.weights is not None
    counts = np.bincount(rows.file.tokens, minlength=rows.classes)
    seen = counts > 0
    expected = counts[seen] ** -0.7
    np.testing.assert_allclose(rows.masking.weights[seen], expected)
    asked = np.zeros(rows.classes)
    for draw in range(60):
        for at in range(len(rows)):
            np.add.at(asked, rows.posed(at, rows.tokens_of(at), draw)[2], 1)
    rate = asked[seen] / counts[seen]
    assert (
        np.corrcoef(np.log(rate + 1e-9)[counts[seen] > 20], np.log(expected)[counts[seen] > 20])[
            0, 1
        ]
        > 0.8
    )


# Scores


@EACH
def test_perplexity_is_that_of_transformers(data: Data, place: Path) -> None:
    """The model's own loss on each block, weighed by the words asked for."""
    made, rows = task(data.problem.kind, place), next(iter(data.evaluation.values()))
    network = model(data.problem)
    kept = []
    loss = count = hits = 0.0
    for at in range(len(rows)):
        batch = rows.__getitems__([at])
        kept.append(made.kept(forward(network, batch).logits, batch))
        labels = torch.full_like(batch.inputs["input_ids"], -100)
        assert batch.asked is not None
        if data.problem.kind == "masked_lm":
            labels[batch.asked] = batch.labels
        else:
            following = torch.zeros_like(batch.asked)
            following[:, 1:] = batch.asked[:, :-1]
            labels[following] = batch.labels
        answer = network(**batch.inputs, labels=labels)
        n = batch.count("answers")
        loss, count = loss + answer.loss.item() * n, count + n
        hits += (answer.logits[batch.asked].argmax(-1) == batch.labels).sum().item()
    found = made.score(torch.cat(kept), rows)
    assert found["perplexity"] == pytest.approx(math.exp(loss / count), rel=1e-4)
    assert found["accuracy"] == pytest.approx(hits / count)
    if data.problem.kind == "causal_lm":
        size = len((place / "test.txt").read_bytes())
        assert found["bits_per_byte"] == pytest.approx(loss / math.log(2) / size, rel=1e-4)
        assert count == len(rows.file.tokens) - 1


@EACH
def test_batches_and_large_vocabularies_change_no_score(
    data: Data, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = task(data.problem.kind, place), data.selection
    network = model(data.problem)
    batch = rows.__getitems__(range(len(rows)))
    whole = made.kept(forward(network, batch).logits, batch)
    monkeypatch.setattr("distill_lab.tasks.token_scores._CHUNK", 1000)
    alone = torch.cat(
        [
            made.kept(forward(network, one).logits, one)
            for one in (rows.__getitems__([at]) for at in range(len(rows)))
        ]
    )
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-4)


@EACH
def test_the_last_layer_runs_only_where_it_is_asked(data: Data) -> None:
    network, batch = model(data.problem), data.train.__getitems__([0, 4])
    last, shapes = network.get_output_embeddings(), []
    last.register_forward_hook(lambda m, given, out: shapes.append(out.shape))
    logits = forward(network, batch).logits
    assert shapes == [(1, batch.count("answers"), data.problem.words)]
    whole = network(**batch.inputs).logits[batch.asked]
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)


# Runs


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_compares_and_its_student_writes(
    kind: str, lm: Callable[..., Result], tmp_path: Path
) -> None:
    result = lm(kind)
    assert result.metric == "perplexity"
    scores = {name: result.main(name) for name in ("teacher", "student", "baseline")}
    assert all(score is not None and 1 < score < 250 for score in scores.values())
    student, baseline, teacher = scores["student"], scores["baseline"], scores["teacher"]
    assert result.gain == pytest.approx(baseline - student)
    assert result.retention == pytest.approx(teacher / student)
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    for name, score in scores.items():
        mean = np.average(table[name], weights=table["tokens"])
        assert math.exp(mean) == pytest.approx(score, rel=1e-5)
    card = (tmp_path / "run" / "student" / "README.md").read_text()
    what = {"causal_lm": "text-generation", "masked_lm": "fill-mask"}[kind]
    assert f"pipeline_tag: {what}" in card
    use = pipeline(what, model=str(tmp_path / "run" / "student"))
    if kind == "masked_lm":
        assert len(use(f"the {use.tokenizer.mask_token} film")) == 5
    else:
        assert use("the film", max_new_tokens=4)[0]["generated_text"].startswith("the film")


def test_the_epoch_with_the_lowest_perplexity_is_taken(
    lm: Callable[..., Result], tmp_path: Path
) -> None:
    result = lm("causal_lm", "trainer.max_epochs=3", "optim.lr=3e-2", "baseline=false")
    curve = pd.read_csv(tmp_path / "run" / "metrics.csv")["selection/perplexity"].dropna()
    assert len(curve) == 3
    assert result.cost["student"]["selection"] == pytest.approx(curve.min(), rel=1e-5)
    assert result.cost["student"]["best_epoch"] == curve.argmin() + 1


@pytest.mark.parametrize("top", [[], ["teacher.cache_top_k=20"]], ids=["all", "largest"])
def test_cache_on_equals_cache_off(
    top: list[str], lm: Callable[..., Result], tmp_path: Path
) -> None:
    for when in ("on", "off"):
        lm("causal_lm", f"teacher.cache={when}", "baseline=false", *top, out=when)
    on, off = (pd.read_csv(tmp_path / when / "metrics.csv") for when in ("on", "off"))
    names = [name for name in on if name.startswith("train/")]
    assert "train/soft" in names
    pd.testing.assert_frame_equal(on[names], off[names], rtol=2e-5, atol=1e-6)


def test_hidden_words_have_no_kept_signals(
    lm: Callable[..., Result], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level("INFO"):
        lm("masked_lm", "baseline=false", "trainer.max_steps=2")
    assert "teacher: runs for every batch; other words are hidden in each epoch" in caplog.text
    with pytest.raises(ConfigError, match=r"teacher\.cache=on: other words are hidden"):
        lm("masked_lm", "teacher.cache=on", out="other")


@pytest.mark.parametrize("data", ["masked_lm"], indirect=True)
def test_so_many_ways_to_hide_words_come_again(
    data: Data, models: dict[str, Path], place: Path, tmp_path: Path
) -> None:
    made = task("masked_lm", place, draws=3)
    rows = made.encode(
        made.load(), AutoTokenizer.from_pretrained(models["masked_lm"]), Store(tmp_path / "store")
    ).train
    assert isinstance(rows, MaskedRows) and not rows.drawn
    loader = training_batches(rows, 4, seed=1)
    seen: dict[int, dict[int, list[int]]] = {}
    for epoch in range(5):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            for row, ids in zip(batch.ids.tolist(), batch.inputs["input_ids"], strict=True):
                content = ids[: int((ids != 0).sum())].tolist()
                seen.setdefault(row, {})[epoch] = content
    assert len(seen) == 3 * len(rows)
    assert all(row % 3 == epoch % 3 for row, epochs in seen.items() for epoch in epochs)
    assert all(len({tuple(c) for c in epochs.values()}) == 1 for epochs in seen.values())
    # What a teacher is asked for once is what the student sees, under the same ids.
    every = rows.distinct
    assert sorted(every.ids) == sorted(seen) and len(every) == 3 * len(rows)
    for start in range(0, len(every), 16):
        batch = every.__getitems__(list(range(start, min(start + 16, len(every)))))
        for row, ids in zip(batch.ids.tolist(), batch.inputs["input_ids"], strict=True):
            content = ids[: int((ids != 0).sum())].tolist()
            assert all(content == known for known in seen[row].values())
    # What is scored is not hidden in turns.
    assert made.encode(
        made.load(), AutoTokenizer.from_pretrained(models["masked_lm"]), Store(tmp_path / "store")
    ).selection.drawn


@pytest.mark.parametrize("top", ["null", "40"])
def test_kept_signals_of_hidden_words_are_those_of_the_teacher(
    lm: Callable[..., Result], top: str, tmp_path: Path
) -> None:
    logs = []
    for cache in ("on", "off"):
        lm(
            "masked_lm", "task.draws=2", "trainer.max_epochs=3", f"teacher.cache={cache}",
            "objective.temperature=2", f"teacher.cache_top_k={top}", "baseline=false", out=cache,
        )  # fmt: skip
        logs.append(pd.read_csv(tmp_path / cache / "metrics.csv")[["train/soft", "train/hard"]])
    pd.testing.assert_frame_equal(*logs, rtol=5e-5, atol=1e-6)


def test_a_language_model_is_taken_as_it_is(lm: Callable[..., Result], tmp_path: Path) -> None:
    first = lm("causal_lm", "baseline=false")
    teacher = next((tmp_path / "store" / "teachers").glob("*/config.json")).parent
    second = lm("causal_lm", "baseline=false", f"teacher.model={teacher}", out="second")
    assert second.metrics["teacher"] == first.metrics["teacher"]
    assert len(list((tmp_path / "store" / "teachers").glob("*/config.json"))) == 1


def test_another_stride_scores_anew_and_trains_nothing_anew(
    lm: Callable[..., Result], tmp_path: Path
) -> None:
    first = lm("causal_lm", "task.stride=16")
    second = lm("causal_lm", "task.stride=31", out="second")
    for kind, count in (("teachers", 1), ("signals", 1), ("answers", 2), ("baselines", 2)):
        assert len(list((tmp_path / "store" / kind).glob("*/entry.json"))) == count, kind
    assert first.fingerprints["teacher"] == second.fingerprints["teacher"]
    assert first.metrics["teacher"]["perplexity"] != second.metrics["teacher"]["perplexity"]


def test_a_new_teacher_reads_capitals(lm: Callable[..., Result], tmp_path: Path) -> None:
    result = lm(
        "causal_lm", "teacher=new_gpt2", "teacher.vocab_size=300", "teacher.epochs=1",
        "teacher.scratch.n_layer=3", "teacher.scratch.n_embd=32", "teacher.scratch.n_head=2",
        "teacher.min_over_chance=-1", "student.num_layers=1", "baseline=false",
    )  # fmt: skip
    assert result.choices["teacher_name"] == "gpt2 3 x 32"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "student")
    assert tokenizer.decode(tokenizer("The Film,  two\nlines")["input_ids"]) == (
        "The Film,  two\nlines"
    )


def test_comparisons_put_the_lowest_perplexity_first(lm: Callable[..., Result]) -> None:
    results = [
        lm("causal_lm", "baseline=false", f"optim.lr={lr}", out=f"lr{lr}") for lr in (1e-5, 3e-3)
    ]
    ordered = [cell.results[0].config["optim"]["lr"] for cell in cells(results)]
    assert ordered == [3e-3, 1e-5]


REFUSED = {
    "own tokens": (
        "causal_lm student=pretrained student.model={model} student.own_tokenizer=true",
        "student.own_tokenizer=true: answers are tokens",
    ),
    "an ensemble": (
        "causal_lm teacher=ensemble teacher.models=[{model}]", "teacher=ensemble: the answers",
    ),
    "more logits than words": ("causal_lm teacher.cache_top_k=9999", "teacher.cache_top_k=9999"),
    "a stride beyond the window": ("causal_lm task.stride=32", "task.stride=32: from 1 to below"),
    "all masked": ("masked_lm task.mask_share=1", "task.mask_share=1"),
    "smoothing below 0": ("masked_lm task.smoothing=-1", "task.smoothing=-1"),
    "no such file": ("causal_lm task.train=no.txt", "task.train=no.txt: there is no such"),
    "too little text": ("causal_lm task.max_length=64 task.selection=0.001", "cannot be divided"),
    "bits of a part": (
        "causal_lm task.metrics=[bits_per_byte]", "put perplexity first",
    ),
    "a model that sees what comes": (
        "causal_lm student=scratch student.sizes.model_type=bert", "it sees the words that it is",
    ),
    "another number of words": (
        "causal_lm student=scratch ~student.sizes +student.sizes={sizes}",
        "student: its vocabulary is padded",
    ),
    "two names of one size": (
        "causal_lm student=scratch student.sizes={sizes}",
        "for num_hidden_layers is another name for it; take that out: ~student.sizes.num",
    ),
    "no room": ("masked_lm task.max_length=-1", "task.max_length=-1: at least 8 tokens"),
    "a metric of others": ("causal_lm task.metrics=[f1]", "choose at least one of perplexity"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(
    name: str, lm: Callable[..., Result], models: dict[str, Path]
) -> None:
    line, said = REFUSED[name]
    kind, *overrides = line.split()
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        sizes = "{model_type:gpt2,n_layer:1,n_embd:32,n_head:2,vocab_size:333,bos_token_id:0}"
        lm(
            kind,
            *(o.replace("{model}", str(models[kind])).replace("{sizes}", sizes) for o in overrides),
        )


def test_a_decoder_has_no_mask(lm: Callable[..., Result], decoder: Path) -> None:
    with pytest.raises(ValueError, match="has no mask token; take an encoder, or task=causal_lm"):
        lm("masked_lm", f"teacher.model={decoder}")


def test_one_token_is_no_text(decoder: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("a")
    made = task("causal_lm", tmp_path)
    with pytest.raises(DataError, match="cannot be divided"):
        made.encode(made.load(), AutoTokenizer.from_pretrained(decoder), Store(tmp_path / "store"))


# Objectives


@EACH
@pytest.mark.parametrize("name", WHOLE)
def test_every_objective_learns_words(name: str, data: Data) -> None:
    """And padding changes no term: the blocks of a batch have the terms that each has alone."""
    objective: Objective = copy.deepcopy(WHOLE[name])
    sides = {"student": model(data.problem, 2), "teacher": model(data.problem)}
    fit = Fit(data.problem, sides["student"].config, sides["teacher"].config)
    if name == "pkd" and data.problem.kind == "causal_lm":
        with pytest.raises(ConfigError, match="the first token, which in a model that looks left"):
            objective.prepare(fit)
        return
    objective.prepare(fit)
    evaluation = next(iter(data.evaluation.values()))  # whose last block is shorter

    def terms(at: list[int]) -> dict[str, Term]:
        batch = evaluation.__getitems__(at)
        s, t = (
            forward(sides[role], batch, getattr(objective.needs, role))
            for role in ("student", "teacher")
        )
        return objective(s, t, batch)

    chosen = [1, len(evaluation) - 1]
    whole = terms(chosen)
    assert all(torch.isfinite(term.total) for term in whole.values())
    if any(term.unit in ("batch", "row_pairs") for term in whole.values()):
        return
    alone = [terms([at]) for at in chosen]
    for key, term in whole.items():
        total = sum(part[key].total for part in alone)
        torch.testing.assert_close(term.total, total, rtol=1e-3, atol=1e-3)


@EACH
def test_accumulated_batches_weigh_as_their_words_do(data: Data) -> None:
    network = model(data.problem, 2)

    def gradient(batches: list[Batch], shares: int) -> torch.Tensor:
        network.zero_grad()
        for batch in batches:
            logits = forward(network, batch).logits
            total = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
            (Term(total, "answers", 1.0).part(batch) / shares).backward()
        return network.get_input_embeddings().weight.grad.clone()

    parts = list(training_batches(data.train, 4, seed=1, accumulate=3))[:3]
    positions = data.train.positions(torch.cat([p.ids for p in parts]).numpy()).tolist()
    whole = data.train.__getitems__(positions)
    torch.testing.assert_close(gradient(parts, 3), gradient([whole], 1), rtol=1e-4, atol=1e-6)


def test_less_is_better_of_perplexity_alone() -> None:
    assert better.sign("perplexity") == better.sign("bits_per_byte") == -1
    assert better.sign("accuracy") == better.sign("f1") == 1
    assert better.gain("perplexity", 20.0, 25.0) == 5 and better.gain("f1", 0.5, 0.25) == 0.25
    assert better.retention("perplexity", 20.0, 16.0) == pytest.approx(0.8)
    assert better.retention("accuracy", 0.8, 0.9) == pytest.approx(0.8 / 0.9)
    assert better.retention("matthews", 0.1, 0.0) is None


@pytest.mark.parametrize(
    "kind", ["gpt2", "llama", "bert", "distilbert", "roberta", "electra", "modernbert"]
)
def test_every_architecture_predicts_words(
    kind: str, place: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    causal = kind in ("gpt2", "llama")
    made = task("causal_lm" if causal else "masked_lm", place)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        models["causal_lm" if causal else "masked_lm"]
    )
    data = made.encode(made.load(), tokenizer, Store(tmp_path / "store"))
    config = copy.deepcopy(stack(kind).config)
    config.vocab_size = len(tokenizer)
    if hasattr(config, "max_position_embeddings"):
        config.max_position_embeddings = 64
    batch = data.train.__getitems__([0, 2])
    logits = forward(new_network(config, data.problem).eval(), batch).logits
    assert logits.shape == (batch.count("answers"), len(tokenizer))
