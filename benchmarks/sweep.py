"""A sweep over T and λ: the teacher once and the students, against a teacher for every run.

4,096 rows of SST-2 (13 tokens on average), batches of 32, one epoch, float32; teacher 12 layers x
256, student 6 x 256, BERTs with random weights. Whole command lines are timed by the clock on the
wall, each with a store of its own: `distill-lab train -m` over a grid with signals kept, the same
with `teacher.cache=off`, and processes that distil by transformers' Trainer, which have their rows
tokenised beforehand. All score selection split and reported rows and save the student (the Trainer
in batches of 128, where its loss asks the teacher, too). What a further run costs is the slope
between a line of few jobs and one of many; a student is what `result.json` says of its training,
and one pass over the reported rows.

    pip install accelerate    # for the Trainer
    python -m benchmarks.sweep --data SST-2 --tokenizer MODEL [--markdown FILE]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import arguments, measured_on, scene
from benchmarks.page import Lines, setting, show
from benchmarks.scene import Scene
from benchmarks.throughput_others import installed
from distill_lab.evaluation import answers

TABLE = ["line", "jobs", "seconds", "seconds a further job", "this / ours", "must reach"]
TEMPERATURES, LAMS = (1, 2, 4, 8, 16), (0.25, 0.5, 0.75, 1)
OURS, LIVE = "distill-lab train -m, signals kept", "the same, teacher.cache=off"
STUDENT = "of which a student: its training, and one pass over the reported rows"
TRAINER = "transformers Trainer, live teacher"
LEAST = {LIVE: 1.5, TRAINER: 3.5}
FEW = 4


class Scenery:
    """Command lines on the same rows and the same teacher.

    Args:
        here: Rows and models; its teacher is written as a checkpoint.
        data: Folder of SST-2, from which rows are drawn.
        rows: Training rows.
        threads: Threads of torch.
    """

    def __init__(self, here: Scene, data: Path, rows: int, threads: int) -> None:
        self.folder = here.folder
        self.data = _subset(data, here.folder / "SST-2", rows)
        self.teacher = here.folder / "teacher"
        here.model(here.teacher).save_pretrained(self.teacher)
        here.data.tokenizer.save_pretrained(self.teacher)
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def ours(self, jobs: int, *more: str) -> tuple[float, list[float]]:
        """Run a sweep; return its seconds and those of each student's training."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            line = [
                "-m", "distill_lab", "train", "-m", "study=grid", "task=glue/sst2",
                f"task.data_dir={self.data}", f"teacher.model={self.teacher}",
                "teacher.min_over_chance=-1", "student=layers_6", "baseline=false",
                "trainer.max_epochs=1", "trainer.accelerator=cpu", *_grid(jobs), *more,
            ]  # fmt: skip
            seconds = self._timed(line, place)
            results = list(Path(place).glob("runs/grid/*/result.json"))
            if len(results) != jobs:
                raise SystemExit(f"{len(results)} of {jobs} jobs finished")
            costs = [json.loads(file.read_text())["cost"]["student"] for file in results]
            return seconds, [float(cost["seconds"]) for cost in costs]

    def trainer(self, jobs: int) -> float:
        """Distil by the Trainer in as many processes, one after another."""
        code = (
            "from pathlib import Path; from benchmarks.scene import Scene;"
            "from benchmarks.throughput_others import trainer; import sys, torch;"
            "rows, folder = int(sys.argv[3]), Path(sys.argv[4]);"
            "here = Scene(*map(Path, sys.argv[1:3]), rows, folder, scored=None);"
            "trainer(here, here.model(here.student), rows, whole=True)"
        )
        rows = str(_rows(self.data))
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            line = ["-c", code, str(self.data), str(self.teacher), rows, place]
            return sum(self._timed(line, os.getcwd()) for _ in range(jobs))

    def _timed(self, line: Sequence[str], place: str) -> float:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *line], cwd=place, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return time.perf_counter() - started


def _pass(here: Scene) -> float:
    """Return the seconds that a student takes to answer the reported rows."""
    student = here.model(here.student)
    started = time.perf_counter()
    answers(here.task, student, here.data, here.device, "student")
    return time.perf_counter() - started


def _grid(jobs: int) -> list[str]:
    """Return the overrides of a grid of so many jobs."""
    lams = LAMS if jobs % len(LAMS) == 0 else LAMS[:1]
    temperatures = TEMPERATURES[: jobs // len(lams)]
    return [
        f"objective.temperature={','.join(map(str, temperatures))}",
        f"objective.lam={','.join(map(str, lams))}",
    ]


def _subset(data: Path, folder: Path, rows: int) -> Path:
    """Write the first rows of train, of which a tenth is held back, and the whole of dev."""
    folder.mkdir()
    lines = (data / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = lines[: 1 + round(rows / 0.9)]
    (folder / "train.tsv").write_text("".join(kept), encoding="utf-8")
    (folder / "dev.tsv").write_text((data / "dev.tsv").read_text("utf-8"), encoding="utf-8")
    return folder


def _rows(folder: Path) -> int:
    return round(0.9 * (len((folder / "train.tsv").read_text("utf-8").splitlines()) - 1))


def main() -> None:
    """Measure, print, and write the page if a file is named."""
    parser = arguments((__doc__ or "").split("\n")[0], rows=4096)
    parser.add_argument("--jobs", type=int, default=20, help="jobs of the grid (20)")
    parser.add_argument("--others", type=int, default=4, help="runs of the slow lines (4)")
    given = parser.parse_args()
    table = Lines()
    with scene(given, scored=None) as here:
        lines = Scenery(here, given.data, given.rows, given.threads)
        few, _ = lines.ours(FEW)
        many, each = lines.ours(given.jobs)
        slope = (many - few) / (given.jobs - FEW)
        table.append([OURS, f"{given.jobs}", f"{many:.0f}", f"{slope:.1f}", "", ""])
        student = statistics.median(each) + statistics.median(_pass(here) for _ in range(3))
        table.append([STUDENT, "", "", f"{student:.1f}", f"{student / slope:.2f}", "0.95"])
        others = {LIVE: lambda n: lines.ours(n, "teacher.cache=off")[0]}
        if installed("accelerate"):
            others[TRAINER] = lines.trainer
        for name, run in others.items():
            one, several = run(1), run(given.others)
            more = (several - one) / (given.others - 1)
            whole = one + more * (given.jobs - 1)
            told = f"{whole:.0f} (of {given.others} runs)"
            row = [name, f"{given.jobs}", told, f"{more:.1f}", f"{whole / many:.2f}"]
            table.append([*row, f"{LEAST[name]:g}"])
    said = setting(*measured_on(given))
    title = f"A grid of {given.jobs} jobs, seconds on the wall"
    show(given.markdown, "benchmarks.sweep", said, __doc__, [(title, TABLE, table)])


if __name__ == "__main__":
    main()
