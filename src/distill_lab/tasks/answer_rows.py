"""Prompts with answers as rows: each token of the answer is to be predicted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import DataError, first_line
from distill_lab.generation import Tokens
from distill_lab.tasks.instructions import Instructions, Message
from distill_lab.tasks.model_rows import rows_at_once
from distill_lab.tasks.rows import Ids, Part
from distill_lab.tasks.tokens import Arrays, TokenRows, padding_values
from distill_lab.types import Batch

log = logging.getLogger(__name__)
_CHUNK = 10_000
PLAIN = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
"""Template of models without one: the texts, each with a line feed."""
_DAY = "{%- macro strftime_now(form) -%}2024-07-26{%- endmacro -%}"


class AnswerRows(TokenRows):
    """Rows of which the tokens behind the prompt are asked for.

    Args:
        source: The same rows as text.
        tokenizer: What made tokens of them.
        columns: `input_ids`, the rows' tokens one after another.
        offsets: Where each row begins, `[rows + 1]`.
        begins: Tokens of each prompt, `[rows]`.
    """

    def __init__(
        self,
        source: Instructions,
        tokenizer: PreTrainedTokenizerBase,
        columns: dict[str, npt.NDArray[np.int32]],
        offsets: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
    ) -> None:
        self.by_student = False  # whether the student writes some of the answers itself
        nothing = np.zeros((len(source), 0), dtype=np.int64)
        super().__init__(source.ids, nothing, columns, offsets, padding_values(columns, tokenizer))
        self.source = source
        self.tokenizer = tokenizer
        self.begins = begins

    @property
    def drawn(self) -> str:
        """Why rows are not the same in each epoch."""
        return "the student writes answers of its own (task.on_policy)" if self.by_student else ""

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """How many tokens of each row are asked for."""
        return self.lengths - self.begins

    @property
    def at_once(self) -> int:
        """How many rows are scored at once: their logits take half a GiB."""
        return rows_at_once(self, len(self.tokenizer))

    def prompt_of(self, position: int) -> npt.NDArray[np.int64]:
        """Return the tokens of a row's prompt."""
        return self.tokens_of(position)[: self.begins[position]]

    def labelled(self) -> AnswerRows:
        """Return the rows that have an answer."""
        known = self.answers > 0
        return self if known.all() else self.take(np.flatnonzero(known))

    def take(self, index: Ids) -> AnswerRows:
        """Return the rows at these positions, with their ids."""
        some = super().take(index)
        some.source, some.begins = self.source.take(index), self.begins[index]
        return some

    def arrays(self) -> Arrays:
        """Return what a tokeniser has made of the rows, for the store."""
        return {**super().arrays(), "begins": self.begins}

    @classmethod
    def restored(cls, rows: Part, arrays: Arrays, tokenizer: PreTrainedTokenizerBase) -> AnswerRows:
        """Return the rows with what a tokeniser has made of them."""
        assert isinstance(rows, Instructions)
        ids = {"input_ids": arrays["columns.input_ids"]}
        return cls(rows, tokenizer, ids, arrays["offsets"], arrays["begins"])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the rows at these positions as one batch; each answer's tokens are asked for."""
        where = np.asarray(positions)
        begins, lengths = (side[where, None] for side in (self.begins, self.lengths))
        ids = torch.from_numpy(self.ids[where])
        batch = asking(self.padded(positions), begins, lengths, ids)
        batch.per_step = getattr(positions, "per_step", {})
        return batch


def prompts_of(batch: Batch) -> list[npt.NDArray[np.int64]]:
    """Return the tokens of a batch's prompts."""
    assert batch.asked is not None
    asked, ids = batch.asked.cpu(), batch.inputs["input_ids"].cpu().numpy()
    lengths = batch.mask.sum(dim=1).cpu()
    first: Tensor = torch.where(asked.any(dim=1), asked.int().argmax(dim=1) + 1, lengths)
    return [row[:count] for row, count in zip(ids, first.tolist(), strict=True)]


def asking(inputs: dict[str, Tensor], begins: Tokens, lengths: Tokens, ids: Tensor) -> Batch:
    """Return a batch in which, from each prompt's end on, the next token is asked for.

    Args:
        inputs: `input_ids` and `attention_mask`, padded behind.
        begins: Tokens of each prompt, `[batch, 1]`.
        lengths: Of each row, `[batch, 1]`.
        ids: Of the rows.
    """
    places = np.arange(inputs["input_ids"].shape[1])[None, :]
    asked = torch.from_numpy((places >= begins - 1) & (places < lengths - 1))
    answers = torch.from_numpy((places >= begins) & (places < lengths))
    return Batch(ids, inputs, inputs["input_ids"][answers], asked, form="tokens")


def encode_answers(
    rows: Instructions,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    by_student: bool = False,
) -> AnswerRows:
    """Turn prompts and answers into tokens; an answer ends with the end-of-text token.

    Args:
        rows: Prompts with or without answers.
        tokenizer: Has a chat template, and a token that ends a text.
        max_length: Tokens of a row, at which answers are cut; a prompt is not.
        by_student: Whether the student writes some of the answers itself.

    Raises:
        DataError: If the template cannot be applied.
    """
    end = tokenizer.eos_token_id
    parts, begins, lengths, cut = list[npt.NDArray[np.int32]](), list[int](), list[int](), 0
    for start in range(0, len(rows), _CHUNK):
        some = rows.take(np.arange(start, min(start + _CHUNK, len(rows))))
        prompts = _plain(tokenizer, [rendered(p, tokenizer) for p in some.prompts])
        answers = _plain(tokenizer, [answer or "" for answer in some.answers])
        for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            ending = [] if start + at in rows.cut else [end]
            whole = [*prompt, *answer, *ending] if some.answers[at] is not None else prompt
            room = max(max_length, len(prompt))
            cut += len(whole) > room
            parts.append(np.asarray(whole[:room], dtype=np.int32))
            begins.append(len(prompt))
            lengths.append(len(parts[-1]))
    if cut:
        log.warning(
            "%s: %d answers are cut at task.max_length=%d tokens, and so have no end",
            rows.source, cut, max_length,
        )  # fmt: skip
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    columns = {"input_ids": np.concatenate(parts)}
    found = AnswerRows(rows, tokenizer, columns, offsets, np.asarray(begins, dtype=np.int64))
    found.by_student = by_student
    return found


def rendered(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a prompt as a model reads it, up to where the answer begins.

    Args:
        prompt: Messages.
        tokenizer: Has a chat template.

    Raises:
        DataError: If the template cannot be applied to the messages.
    """
    messages = [{"role": role, "content": text} for role, text in prompt]
    try:
        told = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever a template raises, jinja2's errors among it
        reason = first_line(error)
        raise DataError(
            f"task.template: it cannot be applied to the prompt {prompt[-1][1][:60]!r} ({reason})"
        ) from error
    return str(told)


def pinned(template: str) -> str:
    """Return a template that tells a model the same day always, so that prompts stay the same."""
    return _DAY + template if "strftime_now" in template and _DAY not in template else template


def refuse_long(rows: AnswerRows, max_length: int, most: int) -> None:
    """Refuse a prompt that leaves no room for an answer, or of which nothing is left.

    Args:
        rows: As tokens.
        max_length: Tokens of a row.
        most: Tokens of the longest answer that may be written.

    Raises:
        DataError: If there is one; it names the first.
    """
    empty = np.flatnonzero(rows.begins == 0)
    if len(empty):
        raise DataError(
            f"{rows.source.source}: the template makes no text of {len(empty):,} prompts, the first"
            f" in row {rows.ids[empty[0]]} (counted from 0); change task.template"
        )
    long = np.flatnonzero(rows.begins > max_length - most)
    if len(long):
        raise DataError(
            f"{rows.source.source}: {len(long):,} prompts are too long, the first in row"
            f" {rows.ids[long[0]]} (counted from 0) with {rows.begins[long[0]]} tokens;"
            f" task.max_length={max_length} less task.max_new_tokens={most} leaves"
            f" {max_length - most}. Take a larger max_length, a smaller max_new_tokens, or leave"
            " out such rows"
        )


def own_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a tokeniser's chat template, or that of models without one."""
    found = tokenizer.chat_template
    if isinstance(found, dict):  # several, by name
        found = found.get("default")
    begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return found or ("{{ bos_token }}" if begins else "") + PLAIN


def _plain(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Tokenise without special tokens: the template has those that belong there."""
    encoded = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False,
        verbose=False,
    )  # fmt: skip
    found: list[list[int]] = encoded["input_ids"]
    return found
