"""From the likeliest beginnings and ends of windows to one answer for each question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distill_lab.tasks.rows import Ids
from distill_lab.tasks.windows import WindowRows

_PIECE = 4096  # windows that are looked at together


class Span(NamedTuple):
    """The best answer to a question.

    Attributes:
        text: As it stands in the paragraph; empty where there is none to give.
        none_over_best: How much larger the sum of both logits of "no answer" is than that of the
            text, the smallest of all windows; infinite where there is no text.
    """

    text: str
    none_over_best: float


def best_spans(
    ends: npt.NDArray[np.float32], rows: WindowRows, longest: int, at: Ids | None = None
) -> dict[str, Span]:
    """Return the answer to each question, by its name.

    As in the authors' code (`google-research/bert: run_squad.py`): of all windows, the pair of a
    beginning and an end behind it, at most so many tokens apart, with the largest sum of logits.

    Args:
        ends: From `spans.best_ends`, `[windows, 2, 1 + count, 2]`.
        rows: What the windows are of.
        longest: Tokens of the longest answer.
        at: Which windows these are; None for all in their order.
    """
    where = np.arange(len(rows)) if at is None else at
    pairs = [_pairs(ends[i : i + _PIECE], longest) for i in range(0, len(ends), _PIECE)]
    score, first, last = (np.concatenate(part) for part in zip(*pairs, strict=True))
    none = ends[:, 0, 0, 1] + ends[:, 1, 0, 1]
    owners = rows.question_of(at)
    # The best window of each question stands last among its own.
    order = np.lexsort((score, owners))
    final = order[np.append(np.flatnonzero(np.diff(owners[order])), len(order) - 1)]
    least = np.full(len(rows.questions), np.inf, dtype=np.float32)
    np.minimum.at(least, owners, none)
    return {
        rows.questions.names[owners[window]]: Span(
            rows.text(int(where[window]), int(first[window]), int(last[window])),
            float(least[owners[window]] - score[window]),
        )
        if np.isfinite(score[window])
        else Span("", float("inf"))
        for window in final
    }


def _pairs(ends: npt.NDArray[np.float32], longest: int) -> tuple[Any, Any, Any]:
    """Return the best pair of each window: its sum of logits, its first and its last token."""
    (starts, start_logits), (stops, stop_logits) = (
        (side[:, 1:, 0].astype(np.int64), side[:, 1:, 1]) for side in (ends[:, 0], ends[:, 1])
    )
    length = stops[:, None, :] - starts[:, :, None] + 1
    sums = start_logits[:, :, None] + stop_logits[:, None, :]
    sums = np.where((length >= 1) & (length <= longest), sums, -np.inf).reshape(len(ends), -1)
    best = sums.argmax(axis=1)
    begin, end = np.divmod(best, stops.shape[1])
    row = np.arange(len(ends))
    return sums[row, best], starts[row, begin], stops[row, end]


def best_threshold(
    margins: Sequence[float], given: Sequence[float], nothing: Sequence[float]
) -> float:
    """Return the threshold of "no answer" at which the sum of the scores is largest.

    Args:
        margins: `Span.none_over_best` of each question; it is answered up to the threshold.
        given: What each question's answer scores.
        nothing: What no answer scores.
    """
    order = np.argsort(np.asarray(margins), kind="stable")
    change = (np.asarray(given) - np.asarray(nothing))[order]
    at = int(np.append(0.0, np.cumsum(change)).argmax())
    edges = np.asarray(margins, dtype=np.float64)[order]
    if at == 0:
        return float(edges[0]) - 1.0 if np.isfinite(edges[0]) else 0.0
    if at == len(edges) or not np.isfinite(edges[at]):
        return float(edges[at - 1]) + 1.0 if np.isfinite(edges[at - 1]) else float(edges[at - 1])
    return float(edges[at - 1] + edges[at]) / 2
