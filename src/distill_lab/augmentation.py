"""More rows for the transfer set, which the teacher alone labels."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, ModelError
from distill_lab.forward import forward
from distill_lab.heads import has_head, model_class
from distill_lab.lab import Lab
from distill_lab.models import load_config, load_model, load_tokenizer, weights_fingerprint
from distill_lab.tasks import Data, Task, TextTask
from distill_lab.tasks.augment import Augment, Copy, Proposals, Propose, to_copy, with_words
from distill_lab.tasks.rows import Rows, Splits, joined, unlabelled
from distill_lab.tasks.tokens import padded, tokenizer_fingerprint
from distill_lab.tasks.vocabulary import Words
from distill_lab.teachers import Source
from distill_lab.types import Batch, Problem

log = logging.getLogger(__name__)
_FORMAT = 1  # raised when what the store holds of copies changes
_FILE = "copies.jsonl"
_TOGETHER = 64  # copies that a masked language model reads at once
_KEY = "task.augment.model"
_WORDS = Problem("masked_lm", ())
Text = tuple[str, str | None]


def check_augment(task: Task, splits: Splits, data: Data) -> None:
    """Look at what more rows will need, before anything is trained.

    Args:
        task: Says whether there are to be any.
        splits: As read.
        data: The same as the teacher reads them.

    Raises:
        UsageError: If the file or the masked language model cannot be used.
    """
    if not isinstance(task, TextTask) or not task.augment.wanted:
        return
    assert isinstance(splits.train, Rows)
    task.augment.rows(splits.train.pair is not None)
    if task.augment.copies and data.tokenizer is not None and not data.tokenizer.is_fast:
        raise ModelError(
            f"teacher.model: {type(data.tokenizer).__name__} is a slow tokeniser, which does not"
            " tell where words stand; take task.augment.copies=0 or a model with a fast one"
        )
    if not task.augment.copies or task.augment.by != "masked_lm":
        return
    model = task.augment.model
    if model is None:
        raise ConfigError(
            f"{_KEY}: no masked language model is named; give one with the teacher's tokeniser, as"
            " bert-base-uncased for its own, or take task.augment.by=embeddings"
        )
    config = load_config(model, _KEY)
    if model_class(config, _WORDS) is None or not has_head(config, _WORDS):
        raise ConfigError(
            f"{_KEY}={model}: no masked language model (its config.json names"
            f" {', '.join(config.architectures or ['no architecture'])}); take another, or"
            " task.augment.by=embeddings"
        )
    own = tokenizer_fingerprint(load_tokenizer(model, _KEY))
    if own != data.fingerprints["tokenizer"]:
        raise ConfigError(
            f"{_KEY}={model}: its tokeniser is not the teacher's; take the model that the teacher"
            " was made of, or task.augment.by=embeddings"
        )


def with_more_rows(task: Task, splits: Splits, data: Data, teacher: Source, lab: Lab) -> Data:
    """Return what a student is trained on: for some tasks more rows, none of which has a label.

    Args:
        task: Says which rows.
        splits: As read.
        data: The same as the student reads them.
        teacher: Ready; its input embeddings tell which words are near each other.
        lab: Gives store and device.
    """
    if not isinstance(task, TextTask) or not task.augment.wanted:
        return data
    read = data.for_teacher or data
    more = _longer(splits, task, read, teacher, lab)
    encoded = task.encode(more, read.tokenizer, lab.store)
    if data.for_teacher is None:
        return encoded
    return task.encode(more, data.tokenizer, lab.store).beside(encoded)


def _longer(splits: Splits, task: TextTask, data: Data, teacher: Source, lab: Lab) -> Splits:
    rows = splits.train
    assert isinstance(rows, Rows)
    more = task.augment.rows(rows.pair is not None)
    copied = stored_copies(rows, task, data, teacher, lab) if task.augment.copies else []
    log.info(
        "task: %s further rows without labels, %s of them copies with other words",
        f"{len(more) + len(copied):,}", f"{len(copied):,}",
    )  # fmt: skip
    if len(copied) < task.augment.copies * len(rows) / 2:
        log.warning(
            "task.augment.copies=%d: %s of %s rows were copied; the others have no word that is one"
            " token of letters", task.augment.copies,
            f"{len(copied):,}", f"{task.augment.copies * len(rows):,}",
        )  # fmt: skip
    every = [*more, *copied]
    if not every:
        return splits
    first = int(rows.ids.max()) + 1
    added = unlabelled(
        Rows(
            np.arange(first, first + len(every)),
            [text for text, _ in every],
            None if rows.pair is None else [pair or "" for _, pair in every],
            np.zeros(len(every), dtype=rows.labels.dtype),
        )
    )
    taught = splits.teacher_train or rows
    return replace(splits, train=joined(rows, added), teacher_train=taught)


def stored_copies(rows: Rows, task: TextTask, data: Data, teacher: Source, lab: Lab) -> list[Text]:
    """Return copies of rows with other words, from the store where they are there."""
    how, tokenizer = task.augment, data.tokenizer
    assert tokenizer is not None
    near = how.by == "embeddings"
    made_by = teacher.trained().fingerprint if near else weights_fingerprint(str(how.model), _KEY)
    fixed = ("copies", "share", "by", "candidates", "seed")
    ingredients = {
        "format": _FORMAT,
        "rows": rows.fingerprint(),
        "tokenizer": data.fingerprints["tokenizer"],
        "model": made_by,
        "max_length": data.max_length,
        **{name: value for name, value in asdict(how).items() if name in fixed},
    }

    def make(folder: Path) -> None:
        log.info("task: copies of %s rows with other words", f"{len(rows):,}")
        words = Words.of(tokenizer)
        own = _nearest(teacher.model, words, how) if near else None
        propose = own or _likeliest(how, tokenizer, words, lab)
        with (folder / _FILE).open("w", encoding="utf-8") as file:
            for row in _made(rows, tokenizer, words, how, data.max_length, propose):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    path, _ = lab.store.get("copies", ingredients, make, f"{task.name}: {how.copies} copies a row")
    with (path / _FILE).open(encoding="utf-8") as file:
        found = [json.loads(line)["texts"] for line in file]
    return [(texts[0], texts[1] if len(texts) > 1 else None) for texts in found]


def _made(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    words: Words,
    how: Augment,
    max_length: int,
    propose: Propose,
) -> Iterator[dict[str, Any]]:
    every = to_copy(rows, tokenizer, words.whole, how, max_length)
    while part := list(islice(every, _TOGETHER)):
        for copy, candidates in zip(part, propose(part), strict=True):
            texts = with_words(copy, candidates, words.texts)
            if texts != copy.texts:
                yield {"row": copy.row, "copy": copy.number, "texts": texts}


def _likeliest(how: Augment, tokenizer: PreTrainedTokenizerBase, words: Words, lab: Lab) -> Propose:
    """Return what a masked language model finds likeliest at the places, all of them hidden."""
    problem = Problem("masked_lm", (), len(tokenizer))
    model = load_model(str(how.model), problem, _KEY, whole=True).eval().to(lab.device)
    allowed = _allowed(words, model.config.vocab_size, lab.device)

    def propose(copies: list[Copy]) -> list[Proposals]:
        inputs = padded([copy.inputs for copy in copies], tokenizer)
        asked = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
        for row, copy in enumerate(copies):
            asked[row, torch.from_numpy(copy.places)] = True
        inputs["input_ids"][asked] = tokenizer.mask_token_id
        ids, nothing = torch.arange(len(copies)), torch.zeros(int(asked.sum()), dtype=torch.int64)
        batch = Batch(ids, inputs, nothing, asked, form="tokens")
        with torch.inference_mode():
            logits = forward(model, batch.to(lab.device)).logits
        each = logits.split([len(copy.places) for copy in copies])
        return [
            _best(scores, copy, allowed, how.candidates)
            for scores, copy in zip(each, copies, strict=True)
        ]

    return propose


def _nearest(model: PreTrainedModel, words: Words, how: Augment) -> Propose:
    """Return the words whose input embeddings point most nearly the same way."""
    embeddings: Any = model.get_input_embeddings()
    vectors = F.normalize(embeddings.weight.detach().float().cpu(), dim=1)
    allowed = _allowed(words, len(vectors), vectors.device)

    def propose(copies: list[Copy]) -> list[Proposals]:
        return [
            _best(vectors[copy.there] @ vectors.T, copy, allowed, how.candidates) for copy in copies
        ]

    return propose


def _allowed(words: Words, size: int, device: Any) -> Tensor:
    """Tell which words may be put in; a model may have more than its tokeniser."""
    allowed = torch.zeros(size, dtype=torch.bool)
    whole = torch.from_numpy(words.whole)[:size]
    allowed[: len(whole)] = whole
    return allowed.to(device)


def _best(scores: Tensor, copy: Copy, allowed: Tensor, count: int) -> Proposals:
    """Return the tokens with the highest scores, without the one that stood there."""
    scores = scores.float().masked_fill(~allowed, -torch.inf)
    there = torch.from_numpy(copy.there).to(scores.device)
    scores.scatter_(1, there[:, None], -torch.inf)
    most = min(count, int(allowed.sum()) - 1)
    found: Proposals = scores.topk(most).indices.cpu().numpy()
    return found
