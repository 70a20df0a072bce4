"""Exact match and F1 as the official SQuAD evaluators compute them.

Rajpurkar et al. 2016 (arXiv 1606.05250), section 6.1, and 2018 (arXiv 1806.03822); the digits are
those of `evaluate-v1.1.py` and `evaluate-v2.0.py`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from distill_lab.tasks.questions import Questions

_PUNCTUATION = frozenset(string.punctuation)


def normalized(text: str) -> str:
    """Return a text in lower case without punctuation, articles and superfluous spaces."""
    plain = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact(answer: str, accepted: str) -> float:
    """Return 1 where two answers are the same but for case, punctuation, articles and spaces."""
    return float(normalized(answer) == normalized(accepted))


def f1(answer: str, accepted: str, may_be_empty: bool = False) -> float:
    """Return the F1 of the words of two answers, counted as often as they stand there.

    Args:
        answer: What is scored.
        accepted: What it is held against.
        may_be_empty: Whether two empty answers agree, as in v2.0; in v1.1 they score 0.
    """
    ours, theirs = normalized(answer).split(), normalized(accepted).split()
    if may_be_empty and not (ours and theirs):
        return float(ours == theirs)
    same = sum((Counter(ours) & Counter(theirs)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def of_question(answer: str, accepted: Sequence[str], no_answers: bool) -> tuple[float, float]:
    """Return exact match and F1 of an answer, each the best over all that are accepted.

    Args:
        answer: What is scored; empty for "no answer".
        accepted: The accepted texts; none where the paragraph has no answer.
        no_answers: Whether the data have questions without an answer (v2.0), where what is accepted
            but normalised to nothing does not count.
    """
    if no_answers:
        accepted = [text for text in accepted if normalized(text)] or [""]
    return (
        max(exact(answer, text) for text in accepted),
        max(f1(answer, text, no_answers) for text in accepted),
    )


def _mean(scores: Sequence[float], scale: float) -> float:
    """Return the mean, rounded as the official programs do; 0 of nothing."""
    return scale * sum(scores) / len(scores) if scores else 0.0


def squad_scores(
    questions: Questions, answers: Mapping[str, str], no_answers: bool, scale: float = 1.0
) -> dict[str, float]:
    """Return exact match and F1; also those of questions with and without an answer for v2.0.

    Args:
        questions: What is asked.
        answers: By the questions' names; one that is missing scores 0.
        no_answers: Whether the data have questions without an answer (v2.0).
        scale: What a perfect answer scores.
    """
    each = [
        of_question(answers[name], accepted, no_answers) if name in answers else (0.0, 0.0)
        for name, accepted in zip(questions.names, questions.answers, strict=True)
    ]
    found = {"exact": _mean([e for e, _ in each], scale), "f1": _mean([f for _, f in each], scale)}
    if no_answers:
        has = [any(map(normalized, accepted)) for accepted in questions.answers]
        for part, wanted in (("has_answer", True), ("no_answer", False)):
            of_part = [pair for pair, one in zip(each, has, strict=True) if one is wanted]
            found[f"exact_{part}"] = _mean([e for e, _ in of_part], scale)
            found[f"f1_{part}"] = _mean([f for _, f in of_part], scale)
    return found
