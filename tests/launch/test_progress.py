"""One line tells how far a sweep is, and a table what failed."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from distill_lab.launch.jobs import Job
from distill_lab.launch.progress import Progress, failures, in_words


def jobs(count: int, folder: Path = Path("runs")) -> list[Job]:
    return [
        Job(n, (f"seed={n}",), (f"seed={n}",), folder / f"seed={n}", (), OmegaConf.create())
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize(("at_once", "minutes"), [(1, 6), (2, 3)])
def test_the_time_left_is_told_from_the_jobs_that_ran(at_once: int, minutes: int) -> None:
    progress = Progress(jobs(10), 10, at_once)
    progress._taken = [600.0] * at_once
    assert progress.left() == ""  # they may have trained the teacher
    progress._taken += [60, 120, 120]
    progress.ended = 7
    assert progress.left() == f" (about {minutes} min left)"


def test_a_failed_job_is_told_when_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (job,) = jobs(1, tmp_path)
    progress = Progress([job], 5, 1)
    progress.begun(job)
    progress.over(job, "a reason")
    assert [record.message for record in caplog.records] == [
        "job 1/5: seed=1",
        "job 1/5 failed: a reason",
    ]


def test_failures_are_told_by_the_last_line_of_their_errors(tmp_path: Path) -> None:
    first, second = jobs(2, tmp_path)
    first.folder.mkdir()
    (first.folder / "error.txt").write_text("Traceback\n  ...\nValueError: no good\n")
    first.failed("killed")  # it has told by itself
    second.failed("killed")
    out = io.StringIO()
    Console(file=out, width=200).print(failures((job, job.reason()) for job in (first, second)))
    text = out.getvalue()
    assert "ValueError: no good" in text and text.count("killed") == 1


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0.4, "less than a minute"), (5.2, "about 5 min"), (150, "about 2.5 hours")],
)
def test_times_are_told_as_people_do(minutes: float, text: str) -> None:
    assert in_words(minutes) == text
