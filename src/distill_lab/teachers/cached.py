"""The teacher computed once: its signals kept in the store, for every student that asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from distill_lab.budget import Mixed, autocast
from distill_lab.disk import free_bytes, in_bytes
from distill_lab.errors import ConfigError
from distill_lab.evaluation import walk
from distill_lab.lab import Lab
from distill_lab.memory import building
from distill_lab.store import Store
from distill_lab.tasks import Data
from distill_lab.tasks.batching import scoring_batches
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.teachers.base import Source
from distill_lab.teachers.caching import Caching
from distill_lab.teachers.signal_bytes import signal_bytes
from distill_lab.teachers.signal_check import check_signals, made_elsewhere, say_where
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.teachers.top_k import MassOutside, beside, reduced, serving
from distill_lab.top_logits import TopK
from distill_lab.types import Problem, TeacherSource, Wanted

log = logging.getLogger(__name__)
_ASKED_LESS = ("teacher.cache=off", "a smaller task.max_length", "trainer.precision=bf16-mixed")
_FORMAT = 1  # raised when what the store holds of signals changes


class SignalPlan:
    """What of a teacher is to be kept, known before it is trained.

    Args:
        caching: Whether to keep it.
        data: The rows; those of training are kept, as the teacher reads them.
        problem: Names the logits.
        config: The teacher's, tells the widths.
        wanted: What the objective needs besides logits.
        name: Of teacher and task, for people.
        top: What of the logits the student gets to know; None for all.
        mixed: Half precision of the training, in which the teacher computes too: kept signals are
            those that it would give for every batch.
    """

    def __init__(
        self,
        caching: Caching,
        data: Data,
        problem: Problem,
        config: PretrainedConfig,
        wanted: Wanted,
        name: str,
        top: TopK | None = None,
        mixed: Mixed = "",
    ) -> None:
        self.mixed: Mixed = mixed
        self.config = config
        self.caching = caching
        self.data = data.for_teacher or data
        self.problem = problem
        self.wanted = wanted
        self.name = name
        self.top = top
        self.size = signal_bytes(self.rows, wanted, config, problem, caching.dtype, top)

    @property
    def rows(self) -> ModelRows:
        """The training rows as the teacher reads them."""
        return self.data.train if self.data.train.drawn else self.data.train.distinct

    def on(self, data: Data) -> SignalPlan:
        """Return the same for other rows.

        Raises:
            ConfigError: As `check`.
        """
        if data is self.data:
            return self
        fixed = self.problem, self.config, self.wanted, self.name, self.top, self.mixed
        other = type(self)(self.caching, data, *fixed)
        other.check()
        return other

    def check(self) -> None:
        """Refuse to keep what is larger than the limit.

        Raises:
            ConfigError: If signals are to be kept in any case, and are too large.
        """
        if self.caching.when == "on" and self.rows.drawn:
            self._without(self.rows.drawn)
        if self.caching.when == "on" and self._is_too_large():
            self._without(
                f"the signals of {len(self.rows):,} rows take {in_bytes(self.size)} and"
                f" teacher.cache_max_gb is {self.caching.max_gb:g}"
            )

    def source(self, teacher: Source, lab: Lab) -> TeacherSource:
        """Return where the student's training gets signals: the store, or the teacher itself.

        Args:
            teacher: Ready; its network is released where the store suffices.
            lab: Gives store, budget and device.

        Raises:
            ModelError: If stored signals are not what the teacher gives now.
        """
        ingredients, top = self._serving(lab.store, teacher.trained().fingerprint)
        reason = self._reason_without(lab, ingredients)
        if reason is not None:
            self._without(reason)
            return reduced(teacher, self.top)
        started = time.perf_counter()

        def make(folder: Path) -> None:
            log.info("teacher: computing its signals for %s rows, once", f"{len(self.rows):,}")
            with building("asking the teacher for its signals", *_ASKED_LESS):
                self._write(folder, teacher, lab, top)

        about = self._about(top)
        try:
            path, found = lab.store.get("signals", ingredients, make, about, self.size)
        except NotImplementedError as error:
            self._without(f"there is {error}, which is not kept")
            return reduced(teacher, self.top)
        files = SignalFiles(path)
        if not found:
            self._hint(lab.store, ingredients, top)
            seconds = time.perf_counter() - started
            size = in_bytes(self.size)
            log.info("teacher: signals kept as %s, %s in %.0f s", path, size, seconds)
        else:
            log.info("teacher: signals found in the store: %s", path)
            if teacher.loaded or made_elsewhere(path, lab.device):
                check_signals(files, path, teacher, self.rows, self.wanted, lab.device, self.mixed)
        teacher.release()
        return files

    def foreseen(self, teacher: str | None, lab: Lab) -> tuple[Path, bool] | None:
        """Return where signals will be and whether they are there; None where none are kept.

        Args:
            teacher: Fingerprint of the teacher, None where it has yet to be trained.
            lab: Gives store and budget.
        """
        ingredients, _ = self._serving(lab.store, teacher)
        path = lab.store.path("signals", ingredients)
        kept = self._reason_without(lab, ingredients) is None
        return (path, path.is_dir()) if kept else None

    @property
    def about(self) -> str:
        """What is kept, for people."""
        return self._about(self.top)

    def _about(self, top: TopK | None) -> str:
        parts = ["logits" if top is None else top.about(self.problem.num_labels)]
        if self.wanted.hidden_states:
            parts.append(f"hidden states {', '.join(map(str, self.wanted.hidden_states))}")
        if self.wanted.attention:
            parts.append(f"attention {', '.join(map(str, self.wanted.attention))}")
        return f"{self.name}: {'; '.join(parts)}"

    def _serving(self, store: Store, teacher: str | None) -> tuple[Mapping[str, Any], TopK | None]:
        """Return the ingredients of the entry that serves, and what of the logits it holds."""
        if self.top is None:
            return self._ingredients(teacher, None), None
        top = serving(store, self._ingredients(teacher, self.top), self.top)
        return self._ingredients(teacher, top), top

    def _hint(self, store: Store, ingredients: Mapping[str, Any], top: TopK | None) -> None:
        """Say how one entry would have served several temperatures."""
        every = beside(store, ingredients) if top else []
        if top and set(every) > set(top.temperatures):
            given = ",".join(f"{t:g}" for t in every)
            log.info(
                "teacher: the store has these logits with other temperatures too;"
                " 'teacher.cache_temperatures=[%s]' keeps one entry for all", given,
            )  # fmt: skip

    def _ingredients(self, teacher: str | None, top: TopK | None) -> Mapping[str, Any]:
        return {
            "format": _FORMAT,
            "teacher": teacher,
            "rows": {name: self.data.fingerprints[name] for name in ("train", "tokenizer")},
            **self.data.cut(),
            "labels": list(self.problem.labels),
            "wanted": asdict(self.wanted),
            "dtype": self.caching.dtype if self.wanted != Wanted() else "float32",
            **({} if top is None else {"top": asdict(top)}),
            **({"mixed": self.mixed} if self.mixed else {}),
        }

    def _reason_without(self, lab: Lab, ingredients: Mapping[str, Any]) -> str | None:
        """Return why the teacher has to run for every batch; None where its signals are kept."""
        if self.caching.when == "off":
            return "teacher.cache=off"
        if self.rows.drawn:
            return self.rows.drawn
        path = lab.store.path("signals", ingredients)
        if self.caching.when == "on" or path.is_dir():
            return None
        seen = lab.budget.rows_seen(len(self.data.train), lab.optim.rows)
        if seen < len(self.rows):
            return f"the training looks at {seen:,} of {len(self.rows):,} rows"
        if self._is_too_large():
            return f"its signals would take {in_bytes(self.size)} (teacher.cache_max_gb)"
        if self.size > (free := free_bytes(path)):
            needed = in_bytes(self.size)
            return f"its signals would take {needed} and {in_bytes(free)} are free at {path}"
        return None

    def _is_too_large(self) -> bool:
        return self.size > self.caching.max_gb * 1e9

    def _without(self, reason: str) -> None:
        """Say that the teacher runs for every batch.

        Raises:
            ConfigError: If signals were to be kept in any case.
        """
        if self.caching.when == "on":
            raise ConfigError(f"teacher.cache=on: {reason}; take teacher.cache=auto or off")
        log.info("teacher: runs for every batch; %s", reason)

    def _write(self, folder: Path, teacher: Source, lab: Lab, top: TopK | None) -> None:
        writer = SignalWriter(folder, self.wanted, getattr(torch, self.caching.dtype))
        source, outside = reduced(teacher, top), MassOutside(top) if top else None
        batches = scoring_batches(self.rows)
        for batch in walk(batches, lab.device, "teacher: signals"):
            with autocast(self.mixed, lab.device):
                outputs = source.signals(batch, self.wanted)
            writer.add(batch, outputs)
            if outside:
                outside.add(outputs)
        writer.flush()
        say_where(folder, lab.device)
        if outside:
            outside.write(folder / "mass_outside.json", self.problem.num_labels)
