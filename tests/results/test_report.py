"""The report: what is read, what is said, what stands in the file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from distill_lab.errors import DataError, DiskError, UsageError
from distill_lab.results.report.html_page import as_html
from distill_lab.results.report.page import Page, read_page
from distill_lab.results.report.palette import DARK, LIGHT, coloured
from distill_lab.results.report.pictures import write_pictures
from distill_lab.results.report.run_rows import command
from distill_lab.results.report.write import write_report
from distill_lab.results.result import Result
from distill_lab.verbs.report import main
from tests.results.made_study import entry, make_study

HOSTILE = "<script>window.hurt=1</script><!--\u2028'\"&"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("report") / "made", (1.0, 2.0, 4.0), (0.5, 0.9))


@pytest.fixture(scope="module")
def page(study: Path) -> Page:
    return read_page([study])


def figure(page: Page, key: str) -> Any:
    return next(drawn for name, drawn in page.figures() if name.endswith(key))


def test_the_verb_writes_one_file_that_asks_no_network(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.html"
    assert main([str(study), "-o", str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    own = html[: html.index('id="plotly"')]
    assert "default-src 'none'" in own and "connect-src" not in own
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", own)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_help_needs_neither_torch_nor_plotly() -> None:
    code = "import sys, distill_lab.verbs.report as r\n"
    code += "try: r.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'plotly', 'pandas'} & set(sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0 and "--texts" in told.stdout, told.stderr


def test_the_head_counts_runs_and_the_summary_says_which_rows_chose(page: Page) -> None:
    html = as_html(page)
    assert "12 finished" in html and "100 training rows held back" in html
    said = " ".join(page.sections[0].summary)
    best = page.study.comparisons[0].students[0]
    gain = best.gain
    assert gain is not None and gain.low is not None
    assert f"{gain.mean:+.4f}, 95 % interval {gain.low:+.4f}" in said
    assert f"{best.retention:.1%} of the teacher's" in said


def test_rows_that_choose_and_report_are_said_to(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", (1.0, 4.0), (0.5,))
    for file in study.glob("*/result.json"):
        content = json.loads(file.read_text("utf-8"))
        for cost in content["cost"].values():
            del cost["selection"]
        file.write_text(json.dumps(content), "utf-8")
    said = " ".join(read_page([study]).sections[0].summary)
    assert "None was scored on the selection split." in said
    assert "which also put it first" in said and "chose nothing" not in said


def test_every_picture_is_one_that_plotly_knows(page: Page) -> None:
    count = 0
    for _, drawn in page.figures():
        for view in drawn.views:
            for theme in (LIGHT, DARK):
                spec = coloured(view.spec, theme)
                assert "palette:" not in json.dumps(spec)
                go.Figure(spec)
            assert view.sentence and view.grid.rows
            assert all(len(row) == len(view.grid.headings) for row in view.grid.rows)
            count += 1
    assert count >= 8


def test_both_themes_have_all_colours_and_words_can_be_read() -> None:
    assert LIGHT.keys() == DARK.keys()
    for theme in (LIGHT, DARK):
        for name in ("ink", "muted", "accent", "teacher", "student", "baseline"):
            assert _contrast(theme[name], theme["panel"]) >= 4.3, (name, theme[name])


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_hostile_names_are_shown_and_never_run(tmp_path: Path) -> None:
    study = make_study(
        tmp_path / "s", (1.0,), (0.5,), labels=("a", HOSTILE), study=HOSTILE,
        choices={"task": "t", "student": HOSTILE, "teacher_name": HOSTILE},
        overrides=[f"study={HOSTILE}"],
    )  # fmt: skip
    (next(study.iterdir())).rename(study / "<img src=x onerror=alert(1)>")
    html = as_html(read_page([study]))
    assert "<script>window.hurt" not in html and "<img src=x" not in html
    own = html[: html.index('id="plotly"')]
    assert "\u2028" not in re.search(r'id="specs">(.*?)</script>', own, re.DOTALL)[1]  # type: ignore[index]
    for key in ("palette", "specs", "samples"):
        told = re.search(rf'id="{key}">(.*?)</script>', own, re.DOTALL)
        assert told and "<" not in told[1]
        json.loads(told[1])
    assert HOSTILE in json.loads(re.search(r'id="samples">(.*?)</script>', own)[1])[0][0]["names"]  # type: ignore[index]


def test_only_the_scripts_of_the_page_are_allowed(page: Page) -> None:
    import base64
    import hashlib

    html = as_html(page)
    allowed = set(re.findall(r"'sha256-([^']+)'", html[: html.index("<title>")]))
    every = r'<script(?: type="text/plain" id="plotly")?>(.*?)</script>'
    scripts = re.findall(every, html, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert len(scripts) == 3 and digests == allowed
    assert "unsafe-eval" not in html[: html.index("<title>")]


def test_a_command_is_quoted_for_a_shell(page: Page) -> None:
    import shlex

    run = page.study.results[0]
    assert shlex.split(command(run)) == ["distill-lab", "train", *run.overrides]
    bare = Result(**{**vars(run), "overrides": []})
    assert command(bare) == "distill-lab train"  # it was typed: .hydra is in its folder
    assert command(Result(**{**vars(bare), "folder": Path("/nowhere")})) == ""


def test_runs_that_failed_or_have_not_finished_are_named(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(study, folder)
    one, two = sorted(folder.iterdir())[:2]
    for run in (one, two):
        (run / "result.json").unlink()
    (one / "error.txt").write_text("Traceback\nConfigError: lam <b>9</b>\n", encoding="utf-8")
    html = as_html(read_page([folder]))
    assert "10 finished, 1 failed, 1 unfinished" in html
    assert "ConfigError: lam &lt;b&gt;9&lt;/b&gt;" in html
    assert html.count('class="status failed"') == 1
    assert html.count('class="status unfinished"') == 1


def test_runs_that_cannot_be_compared_have_sections_of_their_own(tmp_path: Path) -> None:
    make_study(tmp_path / "a", (1.0,), (0.5,))
    make_study(tmp_path / "b", (1.0,), (0.5,), rows=90, task="rte",
               fingerprints={"evaluation": "other", "teacher": "y", "baseline": "z"})  # fmt: skip
    page = read_page([tmp_path])
    assert [section.key for section in page.sections] == ["group-1", "group-2"]
    assert page.sections[0].apart == "" and "another task" in page.sections[1].apart
    assert len(page.fronts) == 2 and len(page.softness) == 2
    html = as_html(page)
    assert 'href="#group-2"' in html and 'href="#pareto-2"' in html
    ids = re.findall(r' id="([^"]+)"', html[: html.index('id="plotly"')])
    assert len(ids) == len(set(ids))
    assert all(f'id="{target}"' in html for target in re.findall(r'href="#([^"]+)"', html))
    assert len({name for name, _ in page.figures()}) == len(page.figures())


def test_students_of_two_sizes_are_on_one_front(tmp_path: Path) -> None:
    make_study(tmp_path / "a", (1.0,), (0.5,))
    small = {"task": "glue/sst2", "student": "layers_3", "teacher_name": "bert-base"}
    make_study(tmp_path / "b", (1.0,), (0.5,), choices=small)
    page = read_page([tmp_path])
    assert len(page.sections) == 2 and len(page.fronts) == 1
    names = [row[0] for row in page.fronts[0].views[0].grid.rows]
    assert "baseline layers_3" in names and "baseline layers_6" in names


def test_without_predictions_the_sections_say_so(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", (1.0, 2.0), (0.5,), seeds=(1,))
    for file in study.glob("*/predictions.parquet"):
        file.unlink()
    page = read_page([study])
    for key in ("classes", "lengths", "calibration"):
        drawn = figure(page, key)
        assert not drawn.views and "predictions.parquet" in " ".join(drawn.about)
    assert not page.softness[0].rows and "predictions.parquet" in page.softness[0].about
    assert "not tested" in " ".join(page.sections[0].summary)
    as_html(page)


def test_without_curves_and_without_a_baseline(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", (1.0,), (0.5,), seeds=(1,))
    for file in study.glob("*/metrics.csv"):
        file.write_text("", encoding="utf-8")
    for file in study.glob("*/result.json"):
        content = json.loads(file.read_text("utf-8"))
        for part in ("metrics", "cost"):
            del content[part]["baseline"]
        file.write_text(json.dumps(content), "utf-8")
    page = read_page([study])
    assert figure(page, "curves").about == ["No run has left a metrics.csv."]
    assert "no baseline" in " ".join(page.sections[0].summary)
    assert "no axis" in " ".join(figure(page, "map").about)
    as_html(page)


def test_lengths_come_from_the_predictions_where_they_hold_them(tmp_path: Path) -> None:
    import pandas as pd

    study = make_study(tmp_path / "s", (1.0,), (0.5,))
    for file in study.glob("*/predictions.parquet"):
        pd.read_parquet(file).assign(length=np.arange(120) + 5).to_parquet(file)
    grid = figure(read_page([study]), "lengths").views[0].grid
    assert grid.headings[0] == "length in tokens"
    assert sum(int(row[1]) for row in grid.rows) == 120  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "told"),
    [("nowhere", "nowhere: there is no such run or study"), ("empty", "no finished run is here")],
)
def test_what_is_no_study_is_one_sentence(tmp_path: Path, given: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=told):
        write_report([tmp_path / given], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_folder_as_the_file_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder; name a file"):
        write_report([study], tmp_path)


def test_what_was_there_stays_when_the_disk_refuses(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.html"
    out.write_text("before")

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("distill_lab.results.report.write.write_atomically", full)
    with pytest.raises(DiskError, match=r"the disk is full.*--output="):
        write_report([study], out)
    assert out.read_text() == "before"


def test_markdown_names_its_pictures(study: Path, tmp_path: Path, chrome: None) -> None:
    out = tmp_path / "docs" / "my report.md"
    make_study(tmp_path / "s", (1.0, 4.0), (0.5,), seeds=(1,), study="a|b *c*")
    write_report([tmp_path / "s"], out, "markdown")
    text = out.read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(" " not in link for link in links)
    for link in links:
        file = out.parent / link.replace("%20", " ")
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "# a\\|b \\*c\\*" in text
    assert "distill-lab train task=glue/sst2" in text.replace("\\_", "_")
    rows = [line for line in text.splitlines() if line.startswith("| student")]
    assert len(rows) == 2 and all(line.count(" | ") == rows[0].count(" | ") for line in rows)
    assert sorted(p.name for p in (out.parent / "my report_pictures").iterdir()) == sorted(
        Path(link).name for link in links
    )


@pytest.fixture(scope="module")
def chrome() -> None:
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium here, with which kaleido draws")


def test_without_kaleido_pictures_are_refused_in_one_sentence(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill_lab.results.report.pictures.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install .*distill-lab\[pictures\]"):
        write_pictures(page, tmp_path / "p")
    assert not list((tmp_path / "p").iterdir())


@pytest.mark.parametrize(
    ("browser", "why"), [("/nowhere/chrome", "Kaleido requires"), ("/bin/false", "seemed to close")]
)
def test_without_a_browser_pictures_are_refused_in_one_sentence(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: str, why: str
) -> None:
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", browser)
    with pytest.raises(UsageError, match=f"Chrome or Chromium .*{why}"):
        write_pictures(page, tmp_path / "p")
    assert not list((tmp_path / "p").iterdir())


def test_measured_costs_are_kept_apart_by_machine_and_rows(tmp_path: Path) -> None:
    entries = [
        entry("student"), entry("teacher"), entry("student", "onnx-int8", latency_p50_ms=1.0),
        entry("student", machine={"name": "another", "threads": 2}),
        entry("teacher", rows={"name": "sst2", "fingerprint": "r2", "median_length": 24}),
    ]  # fmt: skip
    study = make_study(tmp_path / "s", (1.0,), (0.5,), seeds=(1,), bench=entries)
    front = read_page([study]).fronts[0]
    latency = [view for view in front.views if view.name.startswith("latency at batch 1, median")]
    sizes = sorted(len(view.grid.rows) for view in latency)
    assert sizes == [1, 1, 3], [view.name for view in latency]
    assert "int8" in " ".join(front.about) and "Energy: not measured." in front.about
    assert len({view.name for view in front.views}) == len(front.views)


def test_texts_are_shown_only_when_asked_for(lab: Any, rows_file: Path, tmp_path: Path) -> None:
    lab("seed=1", out="runs/one")
    import pandas as pd

    some = pd.read_csv(rows_file)["text"]
    silent = as_html(read_page([tmp_path / "runs"]))
    assert not any(text in silent for text in some)
    page = read_page([tmp_path / "runs"], texts=True)
    texts = [row["text"] for row in page.softness[0].rows]
    assert texts and set(texts) <= set(some)
    lengths = figure(page, "lengths")
    assert lengths.views, lengths.about
    counted = read_page([tmp_path / "runs"]).study.results[0].rows["evaluation"]
    assert sum(int(row[1]) for row in lengths.views[0].grid.rows) == counted


def test_dominated_points_are_grey_and_the_front_has_its_models_colours(tmp_path: Path) -> None:
    cheap = [entry("student"), entry("teacher"), entry("baseline", latency_p50_ms=9.0)]
    study = make_study(tmp_path / "s", (1.0, 8.0), (0.9,), seeds=(1,), bench=cheap)
    view = read_page([study]).fronts[0].views[0]
    traces = {trace.get("name"): trace for trace in view.spec["data"]}
    assert traces["teacher"]["marker"]["color"] == "palette:teacher"
    assert traces["student"]["marker"]["color"] == "palette:student"
    assert traces["dominated"]["marker"]["color"] == "palette:faint"
    assert "baseline" not in traces and "triangle-up" in traces["dominated"]["marker"]["symbol"]
    on_it = {row[0] for row in view.grid.rows if row[-1] == "yes"}
    assert on_it == {"T=8, eager", "teacher bert-base, eager"}


@pytest.mark.slow
def test_five_hundred_runs_take_less_than_ten_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    """Processor time, for the machine may do other things too."""
    temperatures = [1, 1.5, 2, 3, 4, 6, 8, 10, 12, 16]
    study = make_study(
        tmp_path / "s", temperatures, (0.1, 0.3, 0.5, 0.7, 0.9), range(10), rows=872, steps=200
    )
    code = (
        "import resource, sys\nfrom distill_lab.verbs.report import main\nmain(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(study), "-o", str(tmp_path / "r.html")],
        capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds, gigabytes = map(float, told.stdout.split()[-2:])
    assert "500 runs" in told.stdout and seconds < 10 and gigabytes < 1
    assert (tmp_path / "r.html").stat().st_size < 8e6
