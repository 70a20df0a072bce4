"""Corpora: read piece by piece, tokenised once, mapped, and refused where they are no text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from distill_lab.errors import DataError
from distill_lab.store import Store
from distill_lab.tasks import corpus as corpora
from distill_lab.tasks.corpus import Corpus, find_files
from distill_lab.tasks.token_file import stored_tokens
from distill_lab.tasks.tokens import tokenizer_fingerprint
from distill_lab.tasks.vocabulary import train_tokenizer
from tests.conftest import FILLER

TEXT = "\n".join(
    f"Line {i}: {' '.join(np.random.default_rng(i).permutation(FILLER))}." + "\n" * (i % 4 == 0)
    for i in range(300)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(TEXT)
    return train_tokenizer(Corpus((path,)), 400, 64, framed=False)


def tokens(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, store: Path) -> np.ndarray:
    own = tokenizer_fingerprint(tokenizer)
    end = tokenizer.eos_token_id
    return stored_tokens(corpus, tokenizer, own, end, "test", Store(store)).tokens


def test_pieces_are_the_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_BLOCK", 1000)
    pieces = list(Corpus((file,)).pieces())
    assert len(pieces) > 10
    assert "".join(text for text, _ in pieces) == TEXT
    assert [ends for _, ends in pieces] == [False] * (len(pieces) - 1) + [True]
    for text, _ in pieces[1:]:
        assert text.startswith("Line ")


def test_pieces_give_the_tokens_of_the_whole(
    file: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "_BLOCK", 1000)
    found = tokens(Corpus((file,)), tokenizer, tmp_path / "store")
    assert found.dtype == np.uint16
    whole = tokenizer(TEXT, add_special_tokens=False, verbose=False)["input_ids"]
    assert found.tolist() == [*whole, tokenizer.eos_token_id]
    assert tokenizer.decode(found[:-1]) == TEXT


def test_tokens_are_made_once_and_mapped(
    file: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tokens(Corpus((file,)), tokenizer, tmp_path / "store")
    assert isinstance(first, np.memmap)
    monkeypatch.setattr("distill_lab.tasks.token_file._write", lambda *_: pytest.fail("again"))
    assert np.array_equal(tokens(Corpus((file,)), tokenizer, tmp_path / "store"), first)


def test_a_changed_character_is_another_corpus(file: Path) -> None:
    before = Corpus((file,)).fingerprint()
    file.write_text(TEXT.replace("Line 299", "Line 298"))
    assert Corpus((file,)).fingerprint() != before


def test_folders_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "deep/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    files = find_files([str(tmp_path)], "task.train")
    assert [text for text, _ in Corpus(files).pieces()] == ["a.txt", "b.txt", "deep/c.txt"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_are_documents(
    ending: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    path, texts = tmp_path / f"rows.{ending}", ["one film", "two films", " ", "the sea"]
    table = pd.DataFrame({"body": texts, "n": range(4)})
    if ending == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")) + "\n\n")
    else:
        table.to_parquet(path)
    corpus = Corpus((path,), "body")
    assert list(corpus.pieces()) == [(text, True) for text in ("one film", "two films", "the sea")]
    found = tokens(corpus, tokenizer, tmp_path / "store").tolist()
    assert found.count(tokenizer.eos_token_id) == 3
    with pytest.raises(DataError, match=r"task\.text=text"):
        list(Corpus((path,)).pieces())


def test_one_endless_line_is_cut_at_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_BLOCK", 1000)
    monkeypatch.setattr(corpora, "_LONGEST", 2500)
    path = tmp_path / "line.txt"
    path.write_text("some words " * 2000)
    pieces = [text for text, _ in Corpus((path,)).pieces()]
    assert "".join(pieces) == "some words " * 2000
    assert max(map(len, pieces)) < 4000 and len(pieces) > 5
    assert all(piece.startswith((" words", " some")) for piece in pieces[1:])
    path.write_text("x" * 20_000)
    pieces = [text for text, _ in Corpus((path,)).pieces()]
    assert "".join(pieces) == "x" * 20_000 and max(map(len, pieces)) < 4000


def test_windows_line_ends_and_marks_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert list(Corpus((path,)).pieces()) == [("one\ntwo\n", True)]


BROKEN = {
    "bytes that are no text": ("text.txt", b"one\xff\xfe two", "not UTF-8 text"),
    "a program": ("text.txt", b"\x7fELF\x00\x00\x01", "not a text file"),
    "no JSON": ("rows.jsonl", b'{"text": "a"}\n{"text"', "line 2: not JSON"),
    "a number for a text": ("rows.jsonl", b'{"text": 3}\n', "line 1: no text at task.text=text"),
    "a list": ("rows.jsonl", b"[1]\n", "line 1: not an object with named values"),
    "no parquet": ("rows.parquet", b"PAR1 nonsense", "not a readable parquet file"),
    "blank rows": ("rows.jsonl", b'{"text": " "}\n', "the file has no text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    file, content, said = BROKEN[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=said) as told:
        list(Corpus((tmp_path / file,)).pieces())
    assert str(told.value).count(file) == 1  # a sentence that no other one has wrapped


def test_absent_and_empty_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task\.train=nowhere: there is no such file or folder"):
        find_files(["nowhere"], "task.train")
    with pytest.raises(DataError, match="the folder has no files of text"):
        find_files([str(tmp_path)], "task.train")
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.txt: the file is empty"):
        find_files([str(tmp_path / "a.txt")], "task.train")


def test_a_failed_reading_leaves_nothing(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{"text"')
    with pytest.raises(DataError, match="not JSON"):
        tokens(Corpus((tmp_path / "a.jsonl",)), tokenizer, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.npy"))


def test_real_text_is_read_as_it_stands(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "wikitext-2" / "valid.txt"
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "minilm-l6-h384")
    own = tokenizer_fingerprint(tokenizer)
    file = stored_tokens(Corpus((path,)), tokenizer, own, None, "w", Store(tmp_path / "store"))
    text = path.read_text(encoding="utf-8")
    assert file.size == len(text.encode())
    whole = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert file.tokens.tolist() == whole
