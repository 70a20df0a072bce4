"""The study `glue_small` as a whole: grids of the small tasks, then chosen cells and the default.

    python experiments/glue_small.py GLUE ENCODER [OVERRIDE ...]

GLUE is a folder with the official ones (SST-2, CoLA, ...). Runs and store go to the working folder;
what is finished there is skipped. T and λ are chosen by the selection split; the evaluation split
is only reported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from distill_lab.better import sign
from distill_lab.results import Result

GRID = {"cola": "CoLA", "mrpc": "MRPC", "stsb": "STS-B", "rte": "RTE"}
FOLDERS = {**GRID, "sst2": "SST-2", "wnli": "WNLI"}
DEFAULT = (4.0, 0.5)
ELSEWHERE = (2.0, 0.6)  # the middle of the grid, where there is none
SEEDS = "seed=1,2,3"


def train(task: str, glue: Path, encoder: str, *overrides: str) -> None:
    """Run a sweep of the study on one task."""
    subprocess.run(
        [
            sys.executable, "-m", "distill_lab", "train", "-m", "experiments=glue_small",
            f"task=glue/{task}", f"task.data_dir={glue / FOLDERS[task]}",
            f"teacher.model={encoder}", *overrides,
        ],
        check=True,
    )  # fmt: skip


def results(task: str) -> list[Result]:
    """Return all finished runs of a task."""
    return [Result.read(file) for file in Path("runs/glue_small", task).glob("*/result.json")]


def cell(result: Result) -> tuple[float, float]:
    """Return the temperature and lam of a run."""
    objective = result.config["objective"]
    return float(objective["temperature"]), float(objective["lam"])


def chosen(task: str) -> tuple[float, float]:
    """Return the cell of the grid that is best on the selection split, seed 1."""
    grid = [one for one in results(task) if one.seed == 1 and cell(one) != DEFAULT]
    return cell(
        max(grid, key=lambda one: sign(one.metric) * (one.cost["student"]["selection"] or 0))
    )


def main() -> None:
    """Run what is missing."""
    glue, encoder, *more = sys.argv[1:]
    for task in FOLDERS:
        if task in GRID:
            train(task, Path(glue), encoder, "seed=1", *more)
        best = chosen(task) if task in GRID else ELSEWHERE
        print(f"{task}: T={best[0]:g}, lam={best[1]:g}", flush=True)
        for temperature, lam in (best, DEFAULT):
            objective = f"objective.temperature={temperature:g}", f"objective.lam={lam:g}"
            train(task, Path(glue), encoder, *objective, SEEDS, *more)


if __name__ == "__main__":
    main()
