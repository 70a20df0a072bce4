"""Looking at jobs before any training: their files, their models, and what they will need."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from distill_lab.budget import device_for
from distill_lab.config import Config
from distill_lab.errors import UsageError
from distill_lab.heads import described
from distill_lab.lab import Lab
from distill_lab.launch.forecast import Foreseen, Piece
from distill_lab.launch.speed import Speed
from distill_lab.parts import Parts, Plan, Reader, look_at
from distill_lab.quiet import quiet_libraries
from distill_lab.store import Store, digest

_WEIGHT = 4  # bytes
_WRITING = 5.0  # how much longer a row takes word by word than at once, about


def foresee_here(configs: Sequence[Config], pieces: bool) -> list[Foreseen]:
    """Do what `forecast.foresee` says, in this process."""
    logging.disable(logging.INFO)
    quiet_libraries()
    readers = {config.store_dir: Reader(Store(config.store_dir)) for config in configs}
    speeds = dict[str, Speed]()
    found = []
    for config in configs:
        reader = readers[config.store_dir]
        try:
            parts, budget = look_at(config)
            plan = reader.plan(config, parts)
        except UsageError as error:
            found.append(Foreseen(tuple(str(error).splitlines())))
            continue
        needed: tuple[Piece, ...] = ()
        if pieces:
            device = device_for(config.trainer)
            lab = Lab(reader.store, parts.optim, budget, device, Path())
            problem = parts.task.problem
            speed = speeds.setdefault(f"{device} {problem}", Speed(device, problem))
            needed = tuple(_pieces(config, parts, plan, lab, speed))
        found.append(Foreseen((), needed))
    return found


def _pieces(config: Config, parts: Parts, plan: Plan, lab: Lab, speed: Speed) -> Iterator[Piece]:
    seen_by_teacher = plan.data.for_teacher or plan.data
    read = seen_by_teacher.train
    ask, trained = 0.0, list[str]()
    for member in parts.teacher.together():
        network = member.check(parts.task, seen_by_teacher)
        ask += speed.seconds(network, read, lab.optim.rows, train=False)
        for each in member.trainings(parts.task, seen_by_teacher, lab):
            second = speed.seconds(network, read, each.batch_size, train=True)
            size, key = _WEIGHT * speed.parameters(network), str(each.path)
            trained.append(key)
            yield Piece("teacher", key, each.name, each.path.is_dir(), second * each.rows, size)
    teacher = parts.teacher.fingerprint(parts.task, seen_by_teacher, lab)
    task = parts.task
    if task.writes:
        about, seconds = f"{plan.signals.name}", ask * len(read) * _WRITING
        yield Piece("answers", f"{digest(config.task)} {trained}", about, False, seconds, 0.0)
    kept = plan.signals.foreseen(teacher, lab)
    if kept is not None:
        path, done = kept
        key, about = f"{path} {trained}", plan.signals.about
        done = done and not (task.writes or task.unlabelled)  # of rows that are not yet known
        asked = ask * len(plan.signals.rows)
        yield Piece("signals", key, about, done, asked, plan.signals.size)

    rows = lab.budget.rows_seen(len(plan.data.train), lab.optim.rows)
    step = speed.seconds(plan.student, plan.data.train, lab.optim.rows, train=True)
    size = 2 * _WEIGHT * speed.parameters(plan.student)  # the best checkpoint, and `student/`
    live = 0.0 if kept is not None else ask * rows
    about = f"{described(plan.student)} on {parts.task.name}"
    yield Piece("student", digest(_shared(config)), about, False, step * rows + live, size)
    if config.baseline:
        same = digest([config.store_dir, *_shared(config)[:-1]])
        yield Piece("baseline", same, about, False, step * rows, size / 2)  # no checkpoint is kept


def _shared(config: Config) -> list[object]:
    """Return what determines a student; all but the last, what determines a baseline."""
    return [
        config.task, config.teacher, config.student, config.optim, config.trainer, config.seed,
        [config.objective, config.callbacks],
    ]  # fmt: skip
