"""Models measured side by side: found, exported, loaded, let take turns, compared."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import torch

from distill_lab.bench.asked import Asked
from distill_lab.bench.energy import Counter, counter
from distill_lab.bench.entry import Entry
from distill_lab.bench.machine import device_of, machine, versions_of
from distill_lab.bench.notes import notes
from distill_lab.bench.prepare import Prepared, prepare
from distill_lab.bench.process import Measured
from distill_lab.bench.report import Line, Report
from distill_lab.bench.subjects import Found, find
from distill_lab.bench.texts import FixedTexts, TaskTexts, Texts
from distill_lab.bench.turns import (
    Round,
    examples_per_second,
    joules_per_thousand,
    latency_ms,
    latency_spread,
    ratio,
    take_turns,
    times_as_many,
    times_as_soon,
)
from distill_lab.errors import ConfigError, DataError, UsageError, did_you_mean
from distill_lab.evaluation import shown
from distill_lab.launch.progress import in_words
from distill_lab.results.figures import number_of
from distill_lab.results.show import console
from distill_lab.serving.served import open_run
from distill_lab.store import Store

_LENGTHS = (16, 32, 64, 128)
_MB = 1e6
_FEW = 6  # rounds, the least that give an interval
Key = tuple[str, str]


@dataclass
class _Scene:
    """What all models of a measurement share.

    Attributes:
        asked: By somebody.
        device: "cpu" or "cuda".
        threads: That compute.
        counter: Of energy.
        work: Folder of files that are deleted in the end.
        report: What is found.
    """

    asked: Asked
    device: str
    threads: int
    counter: Counter
    work: Path
    report: Report


@dataclass
class _Arm:
    """A model in one form, loaded.

    Attributes:
        prepared: The model.
        form: Which form.
        process: That measures it.
        size: Bytes of its weights on disk.
    """

    prepared: Prepared
    form: str
    process: Measured
    size: int

    @property
    def key(self) -> Key:
        """Name and form."""
        return self.prepared.subject.name, self.form


def measure(asked: Asked, texts: Texts | None = None) -> Report:
    """Measure models in turns.

    Args:
        asked: Which, and how.
        texts: What is read; None takes what is asked for.

    Raises:
        UsageError: If something that is named cannot be used as it is, or nothing can be measured.
    """
    asked.check()
    device = device_of(asked.device)
    found = find(asked.typed, asked.teacher, asked.baseline, asked.store_dir)
    names = [subject.name for subject in found.subjects]
    if asked.against is not None and asked.against not in names:
        close = did_you_mean(asked.against, names)
        raise ConfigError(f"--against={asked.against}: not one of {', '.join(names)}{close}")
    report = Report(left_out=[(name, "", reason) for name, reason in found.left_out])
    threads = asked.threads or torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="distill-lab-bench-") as folder:
        scene = _Scene(asked, device, threads, counter(device), Path(folder), report)
        prepared = _prepared(scene, found, texts or _texts(scene, found))
        with _loaded(scene, prepared) as arms:
            rounds = _rounds(scene, arms)
            report.lines += [
                Line(arm.prepared.subject, _entry(scene, arm, rounds[key]))
                for key, arm in arms.items()
                if key in rounds
            ]
    if not report.lines:
        raise DataError("\n".join(["nothing could be measured", *report.missing()]))
    report.notes += [*notes(found, prepared, report), scene.counter.about]
    return _compared(report, asked.against, rounds)


def _texts(scene: _Scene, found: Found) -> Texts:
    """Return what is read: fixed lengths, the rows of a run that is named, or of the first."""
    asked = scene.asked
    run = found.first_run if asked.rows is None else open_run(asked.rows)
    if asked.lengths or run is None:
        return FixedTexts(asked.lengths or _LENGTHS)
    if run.gone:
        raise DataError(f"{run.gone}; or read rows of fixed lengths (--lengths)")
    store = asked.store_dir or Path(run.config.store_dir)
    return TaskTexts(run.task, Store(store if store.is_dir() else scene.work / "store"))


def _prepared(scene: _Scene, found: Found, texts: Texts) -> list[Prepared]:
    """Look at every model; one that cannot be measured is told of, and the others go on."""
    ready, asked = list[Prepared](), scene.asked
    for at, subject in enumerate(shown(found.subjects, len(found.subjects), "looking at models")):
        try:
            work = scene.work / f"model{at}"
            ready.append(prepare(subject, texts, asked.forms, asked.batch_size, work))
        except UsageError as error:
            scene.report.left_out.append((subject.name, "", str(error)))
    return ready


@contextmanager
def _loaded(scene: _Scene, prepared: Sequence[Prepared]) -> Iterator[dict[Key, _Arm]]:
    """Load every model in every form, each in a process of its own; end them in the end."""
    begun = dict[Key, _Arm]()
    try:
        for each in prepared:
            for form in scene.asked.forms:
                _begin(scene, each, form, begun)
        ready = dict[Key, _Arm]()
        for key, arm in begun.items():
            try:
                arm.size = arm.process.load() or arm.size
                ready[key] = arm
            except UsageError as error:
                arm.process.end()
                scene.report.left_out.append((*key, str(error)))
        yield ready
    finally:
        for arm in begun.values():
            arm.process.end()


def _begin(scene: _Scene, prepared: Prepared, form: str, begun: dict[Key, _Arm]) -> None:
    name = prepared.subject.name
    try:
        spec = prepared.spec(form, scene.device, scene.threads)
    except UsageError as error:
        scene.report.left_out.append((name, form, str(error)))
        return
    process = Measured(spec, scene.work / f"process{len(begun)}", scene.counter)
    begun[name, form] = _Arm(prepared, form, process, prepared.size_bytes(form))


def _rounds(scene: _Scene, arms: Mapping[Key, _Arm]) -> dict[Key, list[Round]]:
    def left_out(key: Key, error: UsageError) -> None:
        scene.report.left_out.append((*key, str(error)))

    return take_turns(
        {key: arm.process for key, arm in arms.items()},
        scene.asked.repetitions,
        scene.asked.warm_up,
        left_out,
        lambda turns, count: shown(_foretold(turns, count), count, "rounds"),
    )


def _foretold(turns: Iterable[int], count: int) -> Iterator[int]:
    """Give the turns; after the first one say how long the others will take."""
    begun = time.monotonic()
    for turn in turns:
        if turn == 1:
            minutes = (time.monotonic() - begun) * (count - 1) / 60
            told = f"bench: {number_of(count - 1, 'more round')}, {in_words(minutes)}"
            few = "" if count <= _FEW else f" (--repetitions={_FEW} takes fewer)"
            console(error=True).print(told + few, highlight=False, markup=False)
        yield turn


def _entry(scene: _Scene, arm: _Arm, rounds: Sequence[Round]) -> Entry:
    joules, memory = joules_per_thousand(rounds), arm.process.memory()
    return Entry(
        model=arm.prepared.subject.name,
        form=arm.form,
        device=scene.device,
        machine=machine(scene.device, scene.threads),
        rows=arm.prepared.passes.rows,
        latency_p50_ms=round(latency_ms(rounds, 50), 4),
        latency_p95_ms=round(latency_ms(rounds, 95), 4),
        latency_spread=round(latency_spread(rounds), 3),
        examples_per_second=round(examples_per_second(rounds), 3),
        size_mb=round(arm.size / _MB, 3),
        parameters=arm.prepared.parameters,
        flops=arm.prepared.flops,
        peak_memory_mb=round(memory.model / _MB, 1),
        process_memory_mb=round(memory.process / _MB, 1),
        energy_j=None if joules is None else round(joules, 4),
        repetitions=scene.asked.repetitions,
        warm_up=scene.asked.warm_up,
        batch_size=arm.prepared.passes.batch_size,
        versions=versions_of(arm.form),
        date=str(date.today()),
    )


def _compared(report: Report, against: str | None, rounds: Mapping[Key, Sequence[Round]]) -> Report:
    """Hold all lines against one: the first, or the first form of the model that is named."""
    named = [line for line in report.lines if against in (None, line.entry.model)]
    if not named:
        report.notes.append(f"{against} was not measured, so nothing is held against it")
        return report
    reference = named[0]
    theirs = rounds[reference.entry.model, reference.entry.form]
    for at, line in enumerate(report.lines):
        ours = rounds[line.entry.model, line.entry.form]
        if line is not reference:
            soon, many = (ratio(ours, theirs, by) for by in (times_as_soon, times_as_many))
            report.lines[at] = replace(line, soon=soon, many=many)
    report.against = f"{reference.entry.model}, {reference.entry.form}"
    return report
