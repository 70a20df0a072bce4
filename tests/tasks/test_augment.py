"""Transfer sets with more rows: copies with other words, and rows of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, ModelError, UsageError
from distill_lab.guards import check_transfer
from distill_lab.heads import new_network
from distill_lab.objectives.dkd import DKD
from distill_lab.results import Result
from distill_lab.store import Store
from distill_lab.tasks import TextFiles
from distill_lab.tasks.augment import Augment, Copy, to_copy, with_words
from distill_lab.tasks.rows import Rows
from distill_lab.tasks.vocabulary import Words, train_tokenizer
from distill_lab.types import Problem
from tests.conftest import BAD, FILLER, GOOD, TINY


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A masked language model with the tiny encoder's tokeniser and random weights."""
    folder = tmp_path_factory.mktemp("masked")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(**TINY, vocab_size=len(tokenizer))
    new_network(config, Problem("masked_lm", (), len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(encoder: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(encoder)
    return found


def some(*texts: str, pair: list[str] | None = None) -> Rows:
    return Rows(np.arange(len(texts)), list(texts), pair, np.zeros(len(texts), dtype=np.int64))


def test_whole_words_of_both_kinds_of_vocabulary(tokenizer: PreTrainedTokenizerBase) -> None:
    """Byte-level vocabularies mark a word's beginning, WordPiece what continues one."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    whole = {token for token, yes in zip(tokens, Words.of(tokenizer).whole, strict=True) if yes}
    assert {f"Ġ{word}" for word in GOOD + BAD if f"Ġ{word}" in tokens} <= whole
    assert not whole & {"[MASK]", "a", "Ġ"}

    class Pieces:
        all_special_ids = (0,)

        def __len__(self) -> int:
            return 6

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return ["[PAD]", "film", "##s", "42", "é", "x"]

        def batch_decode(self, ids: list[list[int]]) -> list[str]:
            return ["[PAD]", "film", "s", "42", "é", "x"]

    assert Words.of(Pieces()).whole.tolist() == [False, True, False, False, True, True]  # type: ignore[arg-type]


def test_only_the_chosen_words_change_and_all_between_stays(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    rows = some("The  film was (quite) good,  was it?", "zzqq", pair=["a long story", "house"])
    how = Augment(copies=3, share=0.5, seed=4)
    words = Words.of(tokenizer)
    copies = list(to_copy(rows, tokenizer, words.whole, how, 32))
    assert {(copy.row, copy.number) for copy in copies} == {
        (r, n) for r in (0, 1) for n in range(3)
    }
    other = tokenizer.convert_tokens_to_ids("Ġsea")
    for copy in copies:
        candidates = np.full((len(copy.places), 5), other)
        first, second = with_words(copy, candidates, words.texts)
        for before, after in ((copy.texts[0], first), (copy.texts[1], second)):
            assert [w for w in after.split(" ") if "sea" not in w] == [
                w
                for w, now in zip(before.split(" "), after.split(" "), strict=True)
                if "sea" not in now
            ]
        changed = sum(text.count("sea") for text in (first, second))
        assert changed == len(copy.places) >= 1
    again = list(to_copy(rows, tokenizer, words.whole, how, 32))
    assert all((a.places == b.places).all() for a, b in zip(copies, again, strict=True))
    assert len({tuple(copy.places) for copy in copies if copy.row == 0}) > 1


def test_each_draw_takes_its_candidate() -> None:
    ids, spans = {"input_ids": np.array([1, 2])}, [(0, 0, 1), (0, 1, 3)]
    copy = Copy(0, 0, ["x y"], ids, np.array([0, 1]), spans, np.array([0.0, 0.99]))
    assert with_words(copy, np.array([[0, 1], [2, 3]]), ["a", "b", "c", "d"]) == ["a d"]


@pytest.mark.parametrize("by", ["masked_lm", "embeddings"])
def test_a_run_with_copies(
    lab: Callable[..., Result], masked: Path, by: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    more = ["task.augment.copies=2", f"task.augment.by={by}", "task.augment.share=0.3"]
    more += [f"task.augment.model={masked}"] if by == "masked_lm" else []
    plain = lab(out="plain")
    with caplog.at_level("INFO"):
        result = lab(*more)
    entry = next((tmp_path / "store" / "copies").glob("*/copies.jsonl"))
    copies = [json.loads(line) for line in entry.read_text().splitlines()]
    train = plain.rows["train"]
    assert result.rows["train"] == train + len(copies) and 1.8 * train < len(copies) <= 2 * train
    # Of the signals, each row has its own; teacher and baseline are those of the plain run.
    assert f"signals for {train + len(copies):,} rows" in caplog.text
    for model in ("teacher", "baseline"):
        assert result.metrics[model] == plain.metrics[model]
    assert "baseline: found in the store" in caplog.text
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert {"train/soft", "train/soft_unlabelled", "train/hard"} <= set(curves.columns)
    vocabulary = {word for row in copies for word in row["texts"][0].split()}
    assert vocabulary & set(GOOD + BAD + FILLER)
    with caplog.at_level("INFO"):
        lab(*more, "objective.temperature=7", out="again")
    assert len(list((tmp_path / "store" / "copies").glob("*/copies.jsonl"))) == 1
    assert len(list((tmp_path / "store" / "signals").glob("*/entry.json"))) == 2


def test_kept_signals_of_copies_are_those_of_the_teacher(
    lab: Callable[..., Result], tmp_path: Path
) -> None:
    logs = []
    for cache in ("on", "off"):
        more = ("task.augment.copies=1", "task.augment.by=embeddings", "baseline=false")
        lab(*more, f"teacher.cache={cache}", out=cache)
        logs.append(pd.read_csv(tmp_path / cache / "metrics.csv"))
    names = ["train/soft", "train/soft_unlabelled", "train/hard"]
    pd.testing.assert_frame_equal(logs[0][names], logs[1][names], rtol=2e-5, atol=1e-6)


def test_rows_of_a_file_are_added(lab: Callable[..., Result], tmp_path: Path) -> None:
    more = pd.DataFrame({"sentence": ["a good film", "the sea was dull", "two people"]})
    more.to_csv(tmp_path / "more.csv", index=False)
    plain = lab("baseline=false", out="plain")
    typed = [f"task.augment.file={tmp_path}/more.csv", "task.augment.text=sentence"]
    assert lab(*typed, "baseline=false").rows["train"] == plain.rows["train"] + 3
    with pytest.raises(UsageError, match=r"task\.augment\.text=txt: .* has no such column"):
        lab(typed[0], "task.augment.text=txt", out="other")
    with pytest.raises(ConfigError, match=r"task\.augment\.pair=sentence: the task has one text"):
        lab(*typed, "task.augment.pair=sentence", out="third")
    more["sentence"] = ["a", "  ", "b"]
    more.assign(other=1).to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(UsageError, match=r"row 1 .* has no text"):
        lab(*typed, out="fourth")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["copies=1"], r"task\.augment\.model: no masked language model is named"),
        (["copies=1", "model={encoder}"], r"model=.*: no masked language model"),
        (["copies=1", "model={other}"], r"task\.augment\.model=.*its tokeniser is not the teacher"),
        (["copies=-1"], r"task\.augment\.copies=-1: at least 0"),
        (["copies=1", "share=0"], r"task\.augment\.share=0: a share"),
        (["copies=1", "by=chance"], r"task\.augment\.by: 'chance' is not"),
        (["copy=1"], r"task\.augment\.copy: .*did you mean.*copies"),
        (["file=nowhere.csv"], "nowhere.csv: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(
    lab: Callable[..., Result], encoder: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    class Texts:
        def texts(self) -> list[str]:
            return FILLER

    config = AutoConfig.for_model(**TINY, architectures=["BertForMaskedLM"])
    config.save_pretrained(tmp_path / "other")
    train_tokenizer(Texts(), 300, 64).save_pretrained(tmp_path / "other")  # type: ignore[arg-type]
    places = {"encoder": encoder, "other": tmp_path / "other"}
    named = [f"task.augment.{each.format(**places)}" for each in more]
    with pytest.raises((ConfigError, ModelError, UsageError), match=said):
        lab(*named)


def test_an_objective_that_needs_labels_is_refused(encoder: Path, rows_file: Path) -> None:
    task = TextFiles(
        train_file=str(rows_file), text="text", label="label", metrics=["accuracy"],
        augment=Augment(copies=1),
    )  # fmt: skip
    splits = task.load()
    data = task.encode(splits, AutoTokenizer.from_pretrained(encoder), Store(rows_file.parent))
    with pytest.raises(ConfigError, match="which some rows of the transfer set have not"):
        check_transfer(DKD(), data, task)
    task.unlabelled = False
    check_transfer(DKD(), data, task)
