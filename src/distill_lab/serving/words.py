"""Words that a student gives: for hidden ones, behind a text, in reply to a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from distill_lab.errors import DataError
from distill_lab.evaluation import shown
from distill_lab.forward import forward
from distill_lab.generation import Tokens, ends, generate
from distill_lab.new_models import longest_input
from distill_lab.serving.served import Served
from distill_lab.tasks.answer_rows import AnswerRows
from distill_lab.tasks.batching import scoring_batches
from distill_lab.tasks.instructions import Instructions, Message
from distill_lab.tasks.model_rows import rows_at_once
from distill_lab.tasks.rows import Rows
from distill_lab.types import Batch


def fillings(
    served: Served, texts: Sequence[str], batch_size: int, device: torch.device
) -> tuple[list[str | None], list[float | None]]:
    """Return the likeliest word for each hidden one, and their joint probability.

    Each hidden word is guessed on its own, as in training. Of a text that is cut before its last
    hidden word, those that are left are answered; None where none is.

    Args:
        served: An encoder for words.
        texts: Each with at least one mask.
        batch_size: Texts at once.
        device: Where.
    """
    tokenizer, model = served.tokenizer, served.as_scored()
    assert tokenizer is not None
    ids = np.arange(len(texts))
    rows = served.task.tokens(Rows(ids, list(texts), None, ids), tokenizer)
    at_once = min(batch_size, rows_at_once(rows, served.problem.words))
    batches = scoring_batches(rows, at_once)
    model.eval().to(device)
    words = list[str | None]([None] * len(texts))
    shares = list[float | None]([None] * len(texts))
    with torch.inference_mode():
        for batch in shown(batches, len(batches), "predict"):
            inputs = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
            hidden = inputs["input_ids"] == tokenizer.mask_token_id
            count = hidden.sum(dim=1)
            posed = Batch(batch.ids, inputs, torch.zeros(int(count.sum())), hidden, form="tokens")
            if not len(posed.labels):
                continue
            best = torch.softmax(forward(model, posed.to(device)).logits, dim=-1).max(dim=-1)
            owners = batch.ids.repeat_interleave(count).tolist()
            for row, share, word in zip(
                owners, best.values.tolist(), best.indices.tolist(), strict=True
            ):
                told = str(tokenizer.decode([word])).strip()
                before = words[row]
                words[row] = told if before is None else f"{before} {told}"
                shares[row] = share * (1.0 if shares[row] is None else shares[row])
    return words, shares


def continuations(
    served: Served, texts: Sequence[str], most: int, batch_size: int, device: torch.device
) -> list[str]:
    """Return what a decoder writes behind texts, its likeliest words.

    Texts are read without special tokens, as corpora are; of one that is too long the end counts.

    Args:
        served: A decoder.
        texts: To be continued.
        most: Tokens that are written, at most.
        batch_size: Texts at once.
        device: Where.

    Raises:
        DataError: If so many leave no room for the text.
    """
    tokenizer = served.tokenizer
    assert tokenizer is not None
    room = _room(served, most)
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_attention_mask=False,
        return_token_type_ids=False, verbose=False,
    )["input_ids"]  # fmt: skip
    return _written(
        served, [np.asarray(tokens[-room:], dtype=np.int64) for tokens in encoded], most,
        batch_size, device,
    )  # fmt: skip


def replies(
    served: Served,
    prompts: Sequence[tuple[Message, ...]],
    most: int,
    batch_size: int,
    device: torch.device,
) -> list[str]:
    """Return what a decoder replies to prompts, in the template of its run.

    Args:
        served: A decoder.
        prompts: The messages before each reply.
        most: Tokens of a reply, at most.
        batch_size: Prompts at once.
        device: Where.

    Raises:
        DataError: If the template cannot be applied, or a prompt is too long.
    """
    tokenizer, nothing = served.tokenizer, [None] * len(prompts)
    assert tokenizer is not None
    ids = np.arange(len(prompts))
    source = Instructions(ids, list(prompts), [*nothing], [*nothing], "prompts")
    rows = served.task.tokens(source, tokenizer)
    assert isinstance(rows, AnswerRows)
    room = _room(served, most)
    for at, length in enumerate(rows.begins.tolist()):
        if not 0 < length <= room:
            raise DataError(
                f"the prompt {prompts[at][-1][1][:60]!r} has {length} tokens; from 1 to {room} can"
                f" be read where {most} are written; shorten it, or take a smaller --new-tokens"
            )
    return _written(
        served, [rows.prompt_of(at) for at in range(len(rows))], most, batch_size, device
    )


def _room(served: Served, most: int) -> int:
    """Return how many tokens can be read before so many are written."""
    longest = longest_input(served.model.config, served.task.max_length)
    room = (longest or served.task.max_length) - most
    if room < 1:
        raise DataError(
            f"--new-tokens {most}: the student reads {room + most} tokens in all, so no room is"
            " left for a text; take fewer"
        )
    return room


def _written(
    served: Served, prompts: Sequence[Tokens], most: int, batch_size: int, device: torch.device
) -> list[str]:
    """Write behind prompts, those of similar length together."""
    tokenizer, model = served.tokenizer, served.as_scored()
    assert tokenizer is not None
    model.eval().to(device)
    end, told = set(ends(model, tokenizer)), [""] * len(prompts)
    for part in shown(_parts(prompts, batch_size), -(-len(prompts) // batch_size), "predict"):
        answers = generate(model, tokenizer, [prompts[at] for at in part], most)
        for at, tokens in zip(part, answers, strict=True):
            plain = [token for token in tokens.tolist() if token not in end]
            told[at] = str(tokenizer.decode(plain, skip_special_tokens=True))
    return told


def _parts(prompts: Sequence[Tokens], batch_size: int) -> Iterable[list[int]]:
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))

    def parts() -> Iterator[list[int]]:
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]

    return parts()
