"""What a search found: a table, all trials as CSV, the best ones as overlays."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.trial import FrozenTrial
from rich import box
from rich.table import Table

from distill_lab.results.show import console
from distill_lab.search.goals import Goal
from distill_lab.search.overlay import Overlay
from distill_lab.search.space import Space
from distill_lab.search.study import FOLDERS, REASON, SPREAD, TYPED, counted, ranking
from distill_lab.store import write_atomically

TRIALS = "trials.csv"
OVERLAYS = "experiments"
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
_SHOWN = 10


class Report:
    """Writes and prints what a search found.

    Args:
        folder: The search's.
        goals: In the order of the trials' values.
        seeds: How many runs a trial has; 0 for one with the seed of the configuration.
        space: Its axes are the columns.
        config: Of the line, with `hydra`.
    """

    def __init__(
        self, folder: Path, goals: list[Goal], seeds: int, space: Space, config: DictConfig
    ) -> None:
        self.folder = folder
        self.goals = goals
        self.seeds = seeds
        self.space = space
        self.study_name = f"{config.study}-best"
        # A search that starts from the best of another must not name itself as what lies below it.
        below = any(line.startswith("experiments=best") for line in space.fixed)
        self.name = f"best_of_{folder.name}" if below else "best"
        sources: Any = config.hydra.runtime.config_sources
        own = [f"file://{s.path}" for s in sources if s.provider == "command-line"]
        self.flags = [f"hydra.searchpath=[{','.join(own)}]"] if own else []

    def write(self, study: optuna.Study) -> None:
        """Write `trials.csv` and the overlays: the best trial, or each of the Pareto front."""
        write_atomically(self.folder / TRIALS, self._csv(counted(study)))
        best = self._best(study)
        for old in (self.folder / OVERLAYS).glob(f"{self.name}*.yaml"):
            if old.stem not in best:
                old.unlink()
        for name, trial in best.items():
            about = f"{self._said(trial)}; best of {self._counts(study)}"
            text = self._overlay(trial).text(about, self.folder, name)
            write_atomically(self.folder / OVERLAYS / f"{name}.yaml", text)

    def show(self, study: optuna.Study) -> None:
        """Print the best trials, where they are kept, and how the best is used."""
        out, best = console(), self._best(study)
        out.print(self._table(study, {trial.number: name for name, trial in best.items()}))
        for name, trial in best.items():
            overlay = self.folder / OVERLAYS / f"{name}.yaml"
            command = self._overlay(trial).command(self.folder, name)
            out.print(f"{overlay}: {command}", highlight=False, soft_wrap=True, markup=False)

    def _best(self, study: optuna.Study) -> dict[str, FrozenTrial]:
        """Return the best trials by the names of their overlays."""
        ranked = ranking(study)
        if len(self.goals) == 1:
            return dict(zip([self.name], ranked, strict=False))
        return {f"{self.name}_{place}": trial for place, trial in enumerate(ranked, 1)}

    def _overlay(self, trial: FrozenTrial) -> Overlay:
        lines = [*self.space.fixed, *trial.user_attrs[TYPED]]
        return Overlay(lines, self.study_name, self.flags)

    def _counts(self, study: optuna.Study) -> str:
        trials = counted(study)
        states = Counter(_STATES[trial.state.name] for trial in trials)
        told = ", ".join(f"{states[s]} {s}" for s in _STATES.values() if states[s])
        return f"{self.folder}: {len(trials)} {'trial' if len(trials) == 1 else 'trials'}, {told}"

    def _said(self, trial: FrozenTrial) -> str:
        return ", ".join(
            f"{goal.name} {text}"
            for goal, text in zip(self.goals, self._values(trial), strict=True)
        )

    def _values(self, trial: FrozenTrial) -> list[str]:
        told = zip(self.goals, trial.values, trial.user_attrs[SPREAD], strict=True)
        return [goal.shown(value, sd) for goal, value, sd in told]

    def _table(self, study: optuna.Study, names: dict[int, str]) -> Table:
        many = len(self.goals) > 1
        table = Table(
            box=box.SIMPLE_HEAD, title=self._counts(study), title_justify="left",
            caption=self._caption(many), caption_justify="left",
        )  # fmt: skip
        places = {trial.number: place for place, trial in enumerate(counted(study), 1)}
        table.add_column("overlay" if many else "")
        for heading in ("trial", *(goal.name for goal in self.goals)):
            table.add_column(heading, justify="right", no_wrap=True)
        for axis in self.space.axes:
            table.add_column(axis.name.removeprefix("objective."), justify="right")
        for trial in ranking(study)[: None if many else _SHOWN]:
            name, typed = names.get(trial.number, ""), _typed(trial)
            cells = [typed.get(axis.name, "") for axis in self.space.axes]
            table.add_row(name, str(places[trial.number]), *self._values(trial), *cells)
        return table

    def _caption(self, many: bool) -> str:
        split = "metric: main metric on the selection split"
        if self.seeds > 1:
            split += f"; mean ± standard deviation over {self.seeds} seeds"
        else:
            split += "; one seed a trial, so the best is lucky too (hydra.sweeper.seeds=[1,2,3])"
        return split + ("; the Pareto front, none better in one goal and no worse" if many else "")

    def _csv(self, trials: list[FrozenTrial]) -> str:
        file = io.StringIO()
        names = [axis.name for axis in self.space.axes]
        goals = [goal.name for goal in self.goals]
        spreads = [f"{goal}_sd" for goal in goals]
        writer = csv.DictWriter(
            file, ["trial", "state", *goals, *spreads, *names, "folders", "reason"],
            lineterminator="\n",
        )  # fmt: skip
        writer.writeheader()
        for place, trial in enumerate(trials, 1):
            row: dict[str, Any] = {"trial": place, "state": _STATES[trial.state.name]}
            row |= _typed(trial) | dict(zip(goals, trial.values or [], strict=False))
            row |= dict(zip(spreads, trial.user_attrs.get(SPREAD, []), strict=False))
            row["folders"] = " ".join(trial.user_attrs.get(FOLDERS, []))
            row["reason"] = trial.user_attrs.get(REASON, "")
            writer.writerow(row)
        return file.getvalue()


def _typed(trial: FrozenTrial) -> dict[str, str]:
    """Return a trial's values as typed, by key."""
    pairs = (text.lstrip("+").partition("=") for text in trial.user_attrs.get(TYPED, []))
    return {key: value for key, _, value in pairs}
