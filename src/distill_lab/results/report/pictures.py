"""The figures as PNG files, for papers and pages that show no HTML."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill_lab.disk import saving
from distill_lab.errors import DataError, UsageError, first_line
from distill_lab.results.report.figure import View
from distill_lab.results.report.page import Page
from distill_lab.results.report.palette import LIGHT, coloured

WIDTH, SCALE = 760, 2  # pixels as in the page, and of a screen for each of them


def write_pictures(page: Page, folder: Path) -> dict[str, list[tuple[View, Path]]]:
    """Write every view of every figure, for example `map.png` and `map_2.png`.

    Args:
        page: With the figures.
        folder: Made if it is not there; files of the same names are replaced.

    Returns:
        Views and their files by the figures' names, see `Page.figures`.

    Raises:
        UsageError: If kaleido or a browser is missing.
        DiskError: If the folder may not be written to.
    """
    files = {
        name: [(view, folder / f"{name}{_number(at)}.png") for at, view in enumerate(drawn.views)]
        for name, drawn in page.figures()
        if drawn.views
    }
    heights = {name: drawn.height for name, drawn in page.figures()}
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: it is a file; name a folder for the pictures")
    jobs = [(view, file, heights[name]) for name, pairs in files.items() for view, file in pairs]
    with saving(folder, "--pictures"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-") as work:
            made = {file: Path(work) / file.name for _, file, _ in jobs}
            _draw([(view, made[file], height) for view, file, height in jobs])
            for file, drawn in made.items():
                os.replace(drawn, file)
    return files


def _number(at: int) -> str:
    return "" if at == 0 else f"_{at + 1}"


def picture(view: View) -> Any:
    """Return a view as a figure of plotly, in the light theme; for a notebook or a logger."""
    import plotly.graph_objects as go

    figure = go.Figure(coloured(view.spec, LIGHT))
    figure.update_layout(
        paper_bgcolor=LIGHT["panel"], plot_bgcolor=LIGHT["panel"],
        margin={"l": 12, "r": 16, "t": 24, "b": 12},
    )  # fmt: skip
    return figure


def _draw(jobs: list[tuple[View, Path, int]]) -> None:
    """Draw all in one browser.

    Raises:
        UsageError: If there is none, or no kaleido.
    """
    if find_spec("kaleido") is None:
        raise UsageError(
            "--format markdown, --pictures: PNG pictures need kaleido; install it with"
            ' pip install "distill-lab[pictures]"'
        )
    if not jobs:
        return
    import plotly.io as pio

    try:
        pio.write_images(
            fig=[picture(view) for view, _, _ in jobs], file=[file for _, file, _ in jobs],
            width=WIDTH, height=[height for _, _, height in jobs], scale=SCALE,
        )  # fmt: skip
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UsageError(
            "--format markdown, --pictures: kaleido draws with Chrome or Chromium and has started"
            f" none ({first_line(error)}); install one, or name it with BROWSER_PATH="
        ) from error
    missing = [file for _, file, _ in jobs if not file.is_file()]
    if missing:
        raise UsageError(f"--pictures: kaleido has not drawn {missing[0].name}; try it again")
