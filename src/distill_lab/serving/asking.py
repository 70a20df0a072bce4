"""What a student answers to rows that nobody has labelled, in columns beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from distill_lab.errors import DataError, first_line
from distill_lab.evaluation import answer
from distill_lab.serving.columns import Asked
from distill_lab.serving.served import Served
from distill_lab.serving.unlabelled import rows_of
from distill_lab.serving.words import continuations, fillings, replies
from distill_lab.tasks import Images, Instruction, Squad, Task
from distill_lab.tasks.best_spans import best_spans
from distill_lab.tasks.windows import WindowRows

Columns = dict[str, list[Any]]
ANSWER, PROBABILITY = "prediction", "probability"


@dataclass(frozen=True)
class Options:
    """How rows are answered.

    Attributes:
        batch_size: Rows that are answered at once, at most.
        device: Where.
        probabilities: Whether every label's probability is given.
        new_tokens: Tokens at which a continuation is cut; None for the task's own number.
        name: What the progress bar says.
    """

    batch_size: int = 128
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    probabilities: bool = False
    new_tokens: int | None = None
    name: str = "predict"


@dataclass(frozen=True)
class Answers:
    """Columns of answers, and which rows have none.

    Attributes:
        columns: By name, one value for each row; None where a row has no answer.
        left_out: Places of the rows without one.
        why: What these rows lack.
    """

    columns: Columns
    left_out: list[int]
    why: str


def ask(served: Served, asked: Asked, options: Options) -> Answers:
    """Answer rows, in their order.

    Args:
        served: The student.
        asked: What is asked, see `columns.Asked`.
        options: How.

    Raises:
        DataError: If a row cannot be read as the task reads rows.
    """
    how, why = _way(served.task)
    can = [at for at in range(len(asked.first)) if asked.complete(at)]
    if served.problem.kind == "masked_lm":
        assert served.tokenizer is not None
        mask = str(served.tokenizer.mask_token)
        can = [at for at in can if mask in asked.first[at]]
        why = f"no {mask}, for which words would be given"
    found = how(served, asked.take(can), options) if can else {ANSWER: []}
    whole = {name: _spread(values, can, len(asked.first)) for name, values in found.items()}
    left_out = sorted(set(range(len(asked.first))) - set(can))
    return Answers(whole, left_out, why)


def _way(task: Task) -> tuple[Callable[[Served, Asked, Options], Columns], str]:
    if isinstance(task, Images):
        return _labels, "no path of a picture"
    if isinstance(task, Squad):
        return _spans, "no question or no paragraph"
    if isinstance(task, Instruction):
        return _replies, "no prompt"
    kinds = {"masked_lm": _fillings, "causal_lm": _continuations}
    return kinds.get(task.problem.kind, _labels), "no text"


def _spread(values: list[Any], at: list[int], count: int) -> list[Any]:
    whole: list[Any] = [None] * count
    for place, value in zip(at, values, strict=True):
        whole[place] = value
    return whole


def _labels(served: Served, asked: Asked, options: Options) -> Columns:
    """Answer texts, pairs or pictures with a label or a number."""
    return _told(served, rows_of(served, asked), options)


def _told(served: Served, rows: Any, options: Options) -> Columns:
    """Return labels with their probability, or numbers."""
    logits = _answered(served, rows, options)
    if served.problem.kind == "regression":
        return {ANSWER: [float(value) for value in logits[:, 0]]}
    shares, names = torch.softmax(logits.double(), dim=1), served.problem.labels
    best = logits.argmax(dim=1)
    found: Columns = {
        ANSWER: [names[at] for at in best.tolist()],
        PROBABILITY: shares.gather(1, best[:, None])[:, 0].tolist(),
    }
    if options.probabilities:
        found |= {f"{PROBABILITY}_{n}": shares[:, at].tolist() for at, n in enumerate(names)}
    return found


def _spans(served: Served, asked: Asked, options: Options) -> Columns:
    """Answer questions with what stands in their paragraphs."""
    task = served.task
    assert isinstance(task, Squad)
    rows = rows_of(served, asked)
    assert isinstance(rows, WindowRows)
    kept = _answered(served, rows, options)
    texts = task.given(kept, rows)
    found: Columns = {ANSWER: [texts[name] for name in rows.questions.names]}
    if task.no_answers or options.probabilities:
        spans = best_spans(kept.numpy(), rows, task.max_answer)
        margins = torch.tensor([spans[name].none_over_best for name in rows.questions.names])
        found["no_answer"] = torch.sigmoid(margins.double()).tolist()
    return found


def _replies(served: Served, asked: Asked, options: Options) -> Columns:
    assert isinstance(served.task, Instruction)
    prompts, most = asked.prompts(), options.new_tokens or served.task.max_new_tokens
    return {ANSWER: replies(served, prompts, most, options.batch_size, options.device)}


def _continuations(served: Served, asked: Asked, options: Options) -> Columns:
    most = options.new_tokens or 40
    return {ANSWER: continuations(served, asked.first, most, options.batch_size, options.device)}


def _fillings(served: Served, asked: Asked, options: Options) -> Columns:
    words, shares = fillings(served, asked.first, options.batch_size, options.device)
    return {ANSWER: words, PROBABILITY: shares}


def _answered(served: Served, rows: Any, options: Options) -> torch.Tensor:
    return answer(
        served.task, served.as_scored(), rows, options.device, options.name, options.batch_size
    )


def device_named(name: str | None) -> torch.device:
    """Return a device by its name; without one, an accelerator where there is one.

    Raises:
        DataError: If there is no such device.
    """
    if name is None:
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise DataError(f"--device {name}: there is no such device here ({reason})") from error
    if device.type == "meta":
        raise DataError(f"--device {name}: it computes nothing; take cpu")
    return device


def unanswered(answers: Answers, name: Callable[[int], str]) -> str:
    """Return what is to be said of rows without an answer; empty where all have one."""
    count = len(answers.left_out)
    if not count:
        return ""
    rows = "1 row has" if count == 1 else f"{count:,} rows have"
    return f"{rows} {answers.why}, the first at {name(answers.left_out[0])}, and no answer"
