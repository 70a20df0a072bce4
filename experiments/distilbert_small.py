"""The study `distilbert_small` as a whole: its ablation on hidden words, then GLUE.

    python experiments/distilbert_small.py WIKITEXT GLUE ENCODER [OVERRIDE ...]

WIKITEXT is a folder with valid.txt and test.txt of WikiText-2. Each student goes on to four tasks
of GLUE alone, without a teacher. Runs and store go to the working folder; what is finished there
is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VARIANTS = {
    "full": (),
    "without_soft": ("objective.soft=0",),
    "without_cosine": ("objective.cosine=0",),
    "without_hard": ("objective.hard=0",),
    "random": ("student.select=random",),
}
TASKS = {"cola": "CoLA", "mrpc": "MRPC", "stsb": "STS-B", "rte": "RTE"}


def train(*line: str) -> None:
    """Run a line of `distill-lab train`."""
    subprocess.run([sys.executable, "-m", "distill_lab", "train", *line], check=True)


def main() -> None:
    """Run what is missing."""
    wiki, glue, encoder, *more = sys.argv[1:]
    for name, overrides in VARIANTS.items():
        for seed in (1, 2, 3):
            folder = Path(f"runs/distilbert_small/{name}_{seed}")
            if not (folder / "result.json").is_file():
                train(
                    "experiments=distilbert_small", f"task.train={wiki}/valid.txt",
                    f"task.evaluation={wiki}/test.txt", f"teacher.model={encoder}",
                    f"seed={seed}", f"hydra.run.dir={folder}", *overrides, *more,
                )  # fmt: skip
            for task, place in TASKS.items():
                # λ = 0: a student that goes on alone; the teacher only stands beside it.
                out = Path(f"runs/distilbert_small_glue/{name}_{task}_{seed}")
                if not (out / "result.json").is_file():
                    train(
                        f"task=glue/{task}", f"task.data_dir={glue}/{place}",
                        f"teacher.model={encoder}", "student=pretrained",
                        f"student.model={folder}/student", "objective.lam=0", "baseline=false",
                        f"seed={seed}", "study=distilbert_small_glue", f"hydra.run.dir={out}",
                    )  # fmt: skip


if __name__ == "__main__":
    main()
