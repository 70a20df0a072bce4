"""A study's comparison as objects of Weights & Biases: tables, heat map, Pareto front."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill_lab.disk import saving
from distill_lab.errors import UsageError, first_line
from distill_lab.results.compare import Comparison, Line
from distill_lab.results.report.page import Page
from distill_lab.results.report.pictures import picture
from distill_lab.results.show import console

JOB_TYPE = "report"
_ODD = r"[^\w ,.=()-]"
_PICTURES = ("map", "pareto")  # figures that are logged, by the beginnings of their keys


def to_wandb(page: Page, project: str, folder: Path) -> None:
    """Log a run of the job type "report" in the study's group, and tell where it is.

    It holds one table for each set of runs that can be compared, and every view of heat maps and
    Pareto fronts as an interactive picture. With `WANDB_MODE=offline` nothing is sent.

    Args:
        page: The study with its figures.
        project: Of W&B.
        folder: In which W&B's own folder lies.

    Raises:
        UsageError: If W&B cannot start.
        DiskError: If the disk is full or may not be written to.
    """
    import wandb

    with saving(folder, "--wandb "):
        run = _started(page, project, folder)
        failed = True
        try:
            for number, comparison in enumerate(page.study.comparisons, 1):
                name = "comparison" if number == 1 else f"comparison {number}"
                columns, rows = table(comparison)
                run.log({name: wandb.Table(columns=columns, data=rows)})
            for name, figure in _figures(page):
                run.log({name: wandb.Plotly(figure)})
            run.summary.update(_best(page))
            failed = False
        finally:
            run.finish(exit_code=int(failed))
    kept = run.settings.sync_dir
    where = f"not sent yet; type: wandb sync {kept}" if run.offline else run.url
    told = f"W&B: {project}, group {page.study.name}: {where}"
    console().print(told, highlight=False, soft_wrap=True, markup=False)


def _started(page: Page, project: str, folder: Path) -> Any:
    import wandb

    study = page.study
    quiet = wandb.Settings(console="off", silent=True)
    try:
        run = wandb.init(
            project=project, group=study.name, job_type=JOB_TYPE, name=f"report of {study.name}",
            dir=str(folder), settings=quiet, reinit="create_new",
            config={"studies": study.name, "runs": len(study.results)},
        )  # fmt: skip
    except wandb.errors.Error as error:
        reason = first_line(error)
        raise UsageError(
            f"--wandb {project}: W&B cannot start ({reason}); log in with `wandb login`, or type"
            " WANDB_MODE=offline before the line"
        ) from error
    return run


def table(comparison: Comparison) -> tuple[list[str | int], list[Iterable[Any]]]:
    """Return columns and rows of a comparison, numbers as numbers; None where there is none."""
    scores = [f"{metric} {part}" for metric in comparison.metrics for part in ("mean", "sd")]
    gains = ["gain", "gain low", "gain high", "verdict"]
    columns: list[str | int] = ["model", *comparison.keys, "seeds", "selection", *scores, *gains,
               "retention", "parameters"]  # fmt: skip
    return columns, [_row(line, comparison) for line in comparison.lines]


def _row(line: Line, comparison: Comparison) -> list[Any]:
    spreads = [line.metrics.get(metric) for metric in comparison.metrics]
    scores = [part for s in spreads for part in ((s.mean, s.sd) if s else (None, None))]
    gain = line.gain
    told = [gain.mean, gain.low, gain.high, gain.verdict] if gain else [None] * 4
    label = [line.label.get(key) for key in comparison.keys]
    seeds = len(line.seeds) or None
    return [line.model, *label, seeds, line.selection, *scores, *told, line.retention,
            line.parameters]  # fmt: skip


def _figures(page: Page) -> Iterator[tuple[str, Any]]:
    """Give heat maps and Pareto fronts, each view under a name of its own."""
    for name, figure in page.figures():
        if figure.key.startswith(_PICTURES):
            for view in figure.views:
                # Names of machines and settings stand in it, and it names a file.
                yield f"{name}/{re.sub(_ODD, '-', view.name)}", picture(view)


def _best(page: Page) -> dict[str, Any]:
    """Return the score of the setting that the selection split puts first, for each comparison."""
    found: dict[str, Any] = {}
    for number, comparison in enumerate(page.study.comparisons, 1):
        first: Sequence[Line] = comparison.students[:1]
        name = "best" if number == 1 else f"best {number}"
        for line in first:
            found |= {f"{name}/{key}": value for key, value in line.label.items()}
            found[f"{name}/{comparison.metric}"] = line.metrics[comparison.metric].mean
    return found
