"""The runs that the benchmark lays out are as many as it says, and those that were trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.many_runs import command, lay_out

from distill_lab.results.compare import comparisons
from distill_lab.results.runs import collect
from tests.results.made_study import make_study


def test_runs_are_laid_out_as_many_as_are_wanted(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", temperatures=(1.0, 2.0), seeds=(1, 2))
    trained = collect([study]).results
    rows = lay_out(study, tmp_path / "many", 10)
    found = collect([tmp_path / "many"])
    assert (len(found.results), found.repeated, rows) == (10, 0, trained[0].rows["evaluation"])
    (comparison,) = comparisons(found.results)  # four cells of two seeds, one of them again
    assert len(comparison.students) == 5 and all(line.gain for line in comparison.students)


def test_a_study_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no finished run with predictions"):
        lay_out(tmp_path, tmp_path / "many", 3)


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(SystemExit, match="compare nowhere: ended with 2"):
        command(["compare", "nowhere"])
