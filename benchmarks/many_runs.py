"""What it takes to compare 1,000 runs and to report 500.

The runs are those of a study that was trained, laid out many times under other temperatures: each
has its own result, settings and curves, and predictions of all evaluation rows (linked, so that the
disk holds them once, but read for each run). Each command is a process of its own, from its start
to its end, with the most memory that it held. The page is opened in a headless Chromium, where
there is one, until its load event has ended.

    python -m benchmarks.many_runs STUDY [--rounds 3] [--markdown benchmarks/many_runs.md]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import Lines, setting, show
from distill_lab.bench.machine import processor

COMPARED, REPORTED = 1000, 500
SECONDS, MEGABYTES, LOADED = 10.0, 1000.0, 2.0
HEAD = ["what", "runs", "rows of each", "seconds", "peak MB", "at most"]
_KEY = "temperature"
_SHARED = ("predictions.parquet", "metrics.csv", "config.yaml")
_BROWSER = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip


def lay_out(study: Path, folder: Path, count: int) -> int:
    """Write so many runs, and return how many rows the evaluation split of each has.

    Raises:
        SystemExit: If the study has no runs with predictions and a temperature.
    """
    files = [f for f in sorted(study.rglob("result.json")) if _usable(f)]
    if not files:
        raise SystemExit(f"{study}: no finished run with predictions and objective.{_KEY} is here")
    rows = 0
    for number in range(count):
        file = files[number % len(files)]
        result = json.loads(file.read_text(encoding="utf-8"))
        hotter = float(result["config"]["objective"][_KEY]) + number // len(files) / 100
        result["config"]["objective"][_KEY] = hotter
        kept = [o for o in result["overrides"] if not o.startswith(f"objective.{_KEY}=")]
        result["overrides"] = [f"objective.{_KEY}={hotter:g}", *kept]
        run = folder / f"{number:04d}"
        (run / ".hydra").mkdir(parents=True)
        for name in _SHARED:
            (run / name).symlink_to((file.parent / name).resolve())
        (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
        rows = int(result["rows"]["evaluation"])
    return rows


def _usable(file: Path) -> bool:
    """Whether a result has what is laid out."""
    result = json.loads(file.read_text(encoding="utf-8"))
    there = all((file.parent / name).is_file() for name in _SHARED)
    return there and result["status"] == "finished" and _KEY in result["config"]["objective"]


def command(arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command; return the seconds that it took and the most megabytes that it held."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "distill_lab", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    taken = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"distill-lab {' '.join(arguments)}: ended with {process.returncode}")
    return taken, used.ru_maxrss * 1024 / 1e6


def loaded(page: Path) -> float | None:
    """Return the seconds until a browser has loaded a page; None where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        return None
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in _BROWSER:
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        opened.get(page.resolve().as_uri())
        script = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
        return float(opened.execute_script(script)) / 1000
    finally:
        opened.quit()


def measure(study: Path, rounds: int) -> tuple[Lines, bool]:
    """Return the lines of the table, and whether all bounds hold."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = [lay_out(study, folder / str(n), n) for n in (COMPARED, REPORTED)]
        page = folder / "page.html"
        lines = {
            "compare": (COMPARED, ["compare", str(folder / str(COMPARED))]),
            "report": (REPORTED, ["report", str(folder / str(REPORTED)), "-o", str(page)]),
        }
        found = {name: [command(line) for _ in range(rounds)] for name, (_, line) in lines.items()}
        seconds = [loaded(page) for _ in range(rounds)]
    table: Lines = []
    good = True
    for (name, (runs, _)), each in zip(lines.items(), rows, strict=True):
        taken, most = [t for t, _ in found[name]], max(m for _, m in found[name])
        good = good and statistics.median(taken) < SECONDS and most < MEGABYTES
        bounds = f"{SECONDS:g} s, {MEGABYTES:,.0f} MB"
        table.append([name, f"{runs:,}", f"{each:,}", _spread(taken), f"{most:,.0f}", bounds])
    known = [one for one in seconds if one is not None]
    if known:
        good = good and statistics.median(known) < LOADED
        told = [_spread(known), "", f"{LOADED:g} s"]
        table.append(["the page, loaded", f"{REPORTED:,}", f"{rows[1]:,}", *told])
    return table, good


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> int:
    """Measure, print, and write the page if a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder of finished runs")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there")
    given = parser.parse_args()
    table, good = measure(given.study, given.rounds)
    about = setting(processor(), f"{given.rounds} rounds")
    show(given.markdown, "benchmarks.many_runs", about, __doc__, [("What it takes", HEAD, table)])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
