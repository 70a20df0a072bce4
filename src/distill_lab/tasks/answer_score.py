"""What answers are worth: whether they are right, and how well given ones are predicted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from distill_lab.tasks.answer_rows import AnswerRows
from distill_lab.tasks.instructions import Final
from distill_lab.tasks.rows import Ids
from distill_lab.tasks.token_scores import perplexity

_FORCED = 3  # columns of the given answer: sum of cross-entropies, hits, tokens
Table = dict[str, npt.NDArray[np.generic] | list[Any]]


def answer_scores(
    answers: Tensor, rows: AnswerRows, final: Final, at: Ids | None = None
) -> dict[str, float]:
    """Compute the share of right answers, and how well the given ones are predicted.

    Args:
        answers: As `Instruction.answer` gives them, `[rows, 3 + tokens]`.
        rows: The prompts.
        final: Finds what a text comes to.
        at: Which of the rows, in the order of the answers; None for all in their order.
    """
    loss, hits, count = answers[:, :_FORCED].sum(dim=0).tolist()
    found = {"perplexity": perplexity(loss, count), "accuracy": hits / count} if count else {}
    keys = [rows.source.keys[row] for row in (range(len(rows)) if at is None else at)]
    right = [
        key is not None and final.right(text, key)
        for text, key in zip(_told(answers, rows), keys, strict=True)
    ]
    return {"exact": float(np.mean(right)), **found}


def constant_score(train: AnswerRows, rows: AnswerRows, metric: str) -> float:
    """Return what the most frequent key gets, or the frequencies of words alone.

    Args:
        train: Tells both.
        rows: What is scored.
        metric: Which score.
    """
    if metric == "exact":
        known = Counter(key for key in train.source.keys if key is not None)
        often = known.most_common(1)[0][0] if known else None
        return float(np.mean([often is not None and key == often for key in rows.source.keys]))
    counts = np.bincount(_asked(train), minlength=len(train.tokenizer)) + 1.0
    text = _asked(rows)
    if metric == "accuracy":
        return float((text == counts.argmax()).mean())
    return math.exp(-np.log(counts / counts.sum())[text].mean())


def answer_table(rows: AnswerRows, answers: Mapping[str, Tensor], final: Final) -> Table:
    """Return the prompts: `id`, `prompt`, `label` (the key), and what each model has said.

    Of each model the text that it has written, whether it is right (`<model>_exact`), and of the
    given answer, which has `tokens`, the mean cross-entropy (`<model>_loss`) and the share of hits
    (`<model>_accuracy`); columns without content are left out.

    Args:
        rows: The prompts.
        answers: Of each model, by its name.
        final: Finds what a text comes to.
    """
    source = rows.source
    found: Table = {
        "id": rows.ids,
        "prompt": [prompt[-1][1] for prompt in source.prompts],
        "label": source.keys,
    }
    for name, kept in answers.items():
        if (kept[:, _FORCED:] >= 0).any():
            told = _told(kept, rows)
            found[name] = told
            found[f"{name}_exact"] = [
                key is not None and final.right(text, key)
                for text, key in zip(told, source.keys, strict=True)
            ]
        loss, hits, count = kept[:, :_FORCED].numpy().T
        if count.all():
            found["tokens"] = count
            found |= {f"{name}_loss": loss / count, f"{name}_accuracy": hits / count}
    return found


def _told(answers: Tensor, rows: AnswerRows) -> list[str]:
    """Return what was written, as text."""
    written = [row[row >= 0].long().tolist() for row in answers[:, _FORCED:]]
    told = rows.tokenizer.batch_decode(written, skip_special_tokens=True)
    return [str(text) for text in told]


def _asked(rows: AnswerRows) -> npt.NDArray[np.int64]:
    return np.concatenate([rows.tokens_of(at)[rows.begins[at] :] for at in range(len(rows))])
