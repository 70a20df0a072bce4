"""Distillation through text: the teacher writes answers, the student learns those that are good.

Sequence-level knowledge distillation, Kim and Rush 2016 (arXiv 1606.07947).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from distill_lab.errors import DataError
from distill_lab.evaluation import shown
from distill_lab.generation import Tokens, ends, generate
from distill_lab.lab import Lab
from distill_lab.store import digest
from distill_lab.tasks import Data, Instruction, Task
from distill_lab.tasks.answer_rows import AnswerRows
from distill_lab.tasks.instructions import Written
from distill_lab.teachers import Source

log = logging.getLogger(__name__)
_FORMAT = 1  # raised when what the store holds of answers changes
_FILE = "answers.jsonl"
Asked = tuple[int, int]
"""Place of a row among those that are read, and sample."""


def with_answers(task: Task, data: Data, teacher: Source, lab: Lab) -> Data:
    """Return what the student is trained on: for some tasks, what the teacher writes first.

    Args:
        task: Says whether and how it writes.
        data: The rows as the student reads them.
        teacher: Ready.
        lab: Gives store and device.

    Raises:
        DataError: If no answer is good enough to be learned.
    """
    if not isinstance(task, Instruction):
        return data
    if data.for_teacher is not None and "answer" in task.scored_by:
        log.warning(
            "perplexity and accuracy are of each model's own tokens, and the two tokenisers differ:"
            " of these, teacher and student cannot be compared"
        )
    if not task.writes:
        return _with_given(task, data)
    read, rows = (data.for_teacher or data).train, data.train
    assert isinstance(read, AnswerRows) and isinstance(rows, AnswerRows)
    answers = stored_answers(task, read, teacher, lab, data.for_teacher or data)
    place = {int(row): at for at, row in enumerate(rows.ids)}
    where = [place[answer.row] for answer in answers]
    keys = [rows.source.keys[at] if task.checks else None for at in where]
    chosen, reasons = task.keep.choose(answers, keys, task.final)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    log.info(
        "teacher: %s answers, of which the student learns %s%s", f"{len(answers):,}",
        f"{len(chosen):,}", f" ({left_out} are left out)" if reasons else "",
    )  # fmt: skip
    if not chosen:
        raise DataError(
            f"task {task.name}: of the {len(answers):,} answers that the teacher has written none"
            f" is left ({left_out}); look at them in the store's folder generations, and change"
            " task.keep, task.template, task.max_new_tokens or the teacher"
        )
    learned = rows.source.written([where[at] for at in chosen], [answers[at] for at in chosen])
    assert data.tokenizer is not None
    told = {"written": len(answers)}
    told |= {f"left out: {reason}": count for reason, count in reasons.items()}
    prints = {**data.prints(), "teacher": data.taught()["train"]}
    prints |= {"train": learned.fingerprint()}
    train = task.tokens(learned, data.tokenizer)
    return replace(data, train=train, fingerprints=prints, told=told, for_teacher=None)


def _with_given(task: Instruction, data: Data) -> Data:
    """Return the rows whose answers the file gives; where the student answers in each step, all."""
    known = data.train.labelled()
    if known is data.train or task.on_policy == 1:
        return data
    count = len(data.train) - len(known)
    log.info("task: %s training rows have no answer and are not learned", f"{count:,}")
    other = data.for_teacher
    both = known if other is None else known.beside(other.train.labelled())
    prints = {**data.fingerprints, "teacher": data.taught()["train"]}
    prints["train"] = digest([prints["train"], "answered"])
    return replace(data, train=both, fingerprints=prints)


def stored_answers(
    task: Instruction, rows: AnswerRows, teacher: Source, lab: Lab, data: Data
) -> list[Written]:
    """Return a teacher's answers to prompts, in the order of rows and samples.

    Each row is written down as soon as it is known, in a file beside the entry: who is
    interrupted goes on there.

    Args:
        task: Says how it writes.
        rows: The prompts, as it reads them.
        teacher: Writes what is not there.
        lab: Gives store and device.
        data: Tells tokeniser and template.
    """
    asked = [(at, sample) for at in range(len(rows)) for sample in range(task.sampling.samples)]
    ingredients = {
        "format": _FORMAT,
        "teacher": teacher.trained().fingerprint,
        "prompts": digest([[int(i), rows.prompt_of(at).tolist()] for at, i in enumerate(rows.ids)]),
        "tokenizer": data.fingerprints["tokenizer"],
        "sampling": task.sampling.ingredients(),
        "max_new_tokens": task.max_new_tokens,
    }
    path = lab.store.path("generations", ingredients)
    unfinished = path.with_name(f".{path.name}.{_FILE}")

    def make(folder: Path) -> None:
        known = _read(unfinished)
        there = f", of which {len(known):,} are there" if known else ""
        log.info("teacher: writes %s answers%s", f"{len(asked):,}", there)
        with unfinished.open("ab") as file:
            for answer in _write(task, rows, _parts(task, rows, asked, known), teacher, lab):
                known[answer.row, answer.sample] = answer
                _append(file, answer)
        every = [known[int(rows.ids[at]), sample] for at, sample in asked]
        lines = (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in every)
        (folder / _FILE).write_text("".join(lines), encoding="utf-8")

    about = f"{task.name}: {len(asked):,} answers"
    path, found = lab.store.get("generations", ingredients, make, about)
    unfinished.unlink(missing_ok=True)
    log.info("teacher: answers %s %s", "found in the store:" if found else "kept as", path)
    return list(_read(path / _FILE).values())


def _parts(
    task: Instruction, rows: AnswerRows, asked: list[Asked], known: Collection[Asked]
) -> list[list[Asked]]:
    """Return what is asked together and not yet known, short prompts first.

    What stands beside a row, which moves the last bits of its probabilities, is the same after an
    interruption as without one, but for the part in which it fell: no answer is written twice.
    """
    order = sorted(asked, key=lambda each: (int(rows.begins[each[0]]), each))
    parts = [order[at : at + task.write_batch] for at in range(0, len(order), task.write_batch)]
    left = ([e for e in part if (int(rows.ids[e[0]]), e[1]) not in known] for part in parts)
    return [part for part in left if part]


def _write(
    task: Instruction, rows: AnswerRows, parts: list[list[Asked]], teacher: Source, lab: Lab
) -> Iterator[Written]:
    """Yield the answers, one part after another."""
    model = teacher.model.to(lab.device)  # type: ignore[arg-type]
    end = ends(model, rows.tokenizer)
    for part in shown(parts, len(parts), "teacher: answers"):
        which = [(int(rows.ids[at]), sample) for at, sample in part]
        prompts = [rows.prompt_of(at) for at, _ in part]
        answers = generate(
            model, rows.tokenizer, prompts, task.max_new_tokens, task.sampling, which
        )
        for (row, sample), tokens in zip(which, answers, strict=True):
            yield _as_text(rows, row, sample, tokens, end)


def _as_text(rows: AnswerRows, row: int, sample: int, tokens: Tokens, end: list[int]) -> Written:
    complete = len(tokens) > 0 and int(tokens[-1]) in end
    text = rows.tokenizer.decode(tokens[:-1] if complete else tokens, skip_special_tokens=True)
    return Written(row, sample, str(text), len(tokens), complete)


def _append(file: IO[bytes], answer: Written) -> None:
    file.write((json.dumps(asdict(answer), ensure_ascii=False) + "\n").encode())
    file.flush()
    os.fsync(file.fileno())


def _read(path: Path) -> dict[Asked, Written]:
    """Return the answers of a file by row and sample; what a killed process tore off is cut."""
    found, good = dict[Asked, Written](), 0
    if not os.path.isfile(path):
        return found
    with path.open("rb") as file:
        for line in file:
            try:
                answer = Written(**json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError):
                answer = None
            if answer is None:
                break
            found[answer.row, answer.sample] = answer
            good += len(line)
    if good < path.stat().st_size:
        os.truncate(path, good)
    return found
