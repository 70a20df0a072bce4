"""Answers that the student writes while it learns: Agarwal et al. 2024 (arXiv 2306.13649)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.generation import Sampling, Tokens, generate
from distill_lab.tasks.answer_rows import AnswerRows, asking, prompts_of
from distill_lab.tasks.tokens import padded
from distill_lab.types import Batch


def written_by_student(
    model: PreTrainedModel, batch: Batch, rows: AnswerRows, most: int, seed: int, step: int
) -> Batch:
    """Return a batch's prompts with answers that the student samples at temperature 1.

    Dropout is off while it writes; no gradient flows through what it has drawn.

    Args:
        model: The student, in training.
        batch: Gives the prompts.
        rows: What the batch is taken from.
        most: Tokens at which an answer is cut.
        seed: With row and step, fixes what is drawn.
        step: Of the training.
    """
    prompts, training = prompts_of(batch), model.training
    which = [(row, step) for row in batch.ids.tolist()]
    model.eval()
    try:
        sampling = Sampling(temperature=1.0, seed=seed)
        answers = generate(model, rows.tokenizer, prompts, most, sampling, which)
    finally:
        model.train(training)
    own = answered(batch.ids, prompts, answers, rows.tokenizer)
    return own.to(batch.labels.device)


def answered(
    ids: Tensor,
    prompts: Sequence[Tokens],
    answers: Sequence[Tokens],
    tokenizer: PreTrainedTokenizerBase,
) -> Batch:
    """Return prompts with answers as a batch in which each token of the answers is asked for.

    Args:
        ids: Of the rows.
        prompts: Tokens of each.
        answers: Tokens of each, at least one.
        tokenizer: Tells what fills a row.
    """
    whole = [np.concatenate(pair) for pair in zip(prompts, answers, strict=True)]
    begins, lengths = (np.array([*map(len, side)])[:, None] for side in (prompts, whole))
    return asking(padded([{"input_ids": row} for row in whole], tokenizer), begins, lengths, ids)
