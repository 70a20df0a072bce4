"""What a student of half the layers saves in serving, at real sizes.

A BERT-base of 12 layers against a DistilBERT of 6, random weights (how fast they answer does not
depend on what they know), in float32, as ONNX, and as ONNX with 8-bit weights, by `distill-lab
bench`: each in a process of its own, in turns on the same rows of STS-B's dev set. DistilBERT's
authors report 410 s against 668 s for a pass over these rows one by one on a processor (Sanh et al.
2019, arXiv 1910.01108, table 3): 1.63 times as fast, which is what is to be reached. Ratios are the
median of the rounds, with a 95 % interval. Ends with 1 when one is not reached.

    python -m benchmarks.serving --data STS-B --tokenizer MODEL --markdown benchmarks/serving.md
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, DistilBertConfig, PretrainedConfig

from benchmarks.page import Lines, setting, show
from distill_lab.bench.asked import Asked
from distill_lab.bench.measure import measure
from distill_lab.bench.report import Line, Report
from distill_lab.bench.tables import explained, grid
from distill_lab.bench.tables import setting as measured_on
from distill_lab.bench.texts import TaskTexts
from distill_lab.config import build
from distill_lab.heads import head, new_network
from distill_lab.hydra_entry import compose
from distill_lab.models import load_tokenizer
from distill_lab.quiet import quiet_libraries
from distill_lab.store import Store
from distill_lab.tasks import Task

TEACHER, STUDENT = "12 layers, BERT-base", "6 layers, DistilBERT"
FORMS = ("eager", "onnx", "onnx-int8")
# The form of the student, and how many times as soon as the teacher, eager, it answers a row alone.
REACH = (("eager", 1.63), ("onnx-int8", 6.0))
REACH_HEAD = ["6 layers against 12 layers eager, a row alone", "at least", "found", "reached"]
_SHARED = Path(__file__).resolve().parents[2] / "shared"


def sizes(task: Task, words: int) -> dict[str, PretrainedConfig]:
    """Return the published configurations, with a head for the task.

    Args:
        task: Its rows have been read.
        words: Of the tokeniser.
    """
    more = {**head(task.problem), "vocab_size": words}
    return {TEACHER: BertConfig(**more), STUDENT: DistilBertConfig(**more)}


def write_models(task: Task, tokenizer: Path, folder: Path) -> list[str]:
    """Write both models with random weights and the tokeniser; return what `bench` is told."""
    words = load_tokenizer(str(tokenizer), "--tokenizer")
    typed = []
    for at, (name, config) in enumerate(sizes(task, len(words)).items()):
        torch.manual_seed(at)
        place = folder / f"model{at}"
        new_network(config, task.problem).save_pretrained(place)
        words.save_pretrained(place)
        typed.append(f"{name}={place}")
    return typed


def run(given: argparse.Namespace) -> Report:
    """Measure both models in all forms."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        task: Task = build(compose("task=glue/stsb", f"task.data_dir={given.data}").task)
        texts = TaskTexts(task, Store(work / "store"))
        asked = Asked(
            write_models(task, given.tokenizer, work),
            forms=FORMS,
            device="cpu",
            batch_size=given.batch_size,
            repetitions=given.rounds,
            threads=given.threads,
        )
        return measure(asked, texts)


def reached(lines: Sequence[Line]) -> tuple[Lines, bool]:
    """Return what was to be reached and what was, and whether all was."""
    found = {(line.entry.model, line.entry.form): line.soon for line in lines}
    table, every = [], True
    for form, least in REACH:
        ratio = found.get((STUDENT, form))
        if ratio is None:
            table.append([form, f"{least:.2f} x", "not measured", "no"])
            every = False
            continue
        interval = "" if ratio.low is None else f" ({ratio.low:.2f} to {ratio.high:.2f})"
        good = ratio.value >= least
        table.append([form, f"{least:.2f} x", f"{ratio.value:.2f} x{interval}", _word(good)])
        every = every and good
    return table, every


def _word(good: bool) -> str:
    return "yes" if good else "no"


def main() -> int:
    """Measure, print, and write the page if a file is named.

    Returns:
        1 if something is not reached.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    paths = {"--data": "data/glue/STS-B", "--tokenizer": "models/minilm-l6-h384"}
    helps = {"--data": "STS-B, train.tsv and dev.tsv", "--tokenizer": "model with a tokeniser"}
    for name, default in paths.items():
        parser.add_argument(name, type=Path, default=_SHARED / default, help=helps[name])
    parser.add_argument("--rounds", type=int, default=10, help="repetitions (10)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each model (2)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows of a batch (32)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there")
    given = parser.parse_args()
    quiet_libraries()
    logging.getLogger("distill_lab").setLevel(logging.ERROR)
    report = run(given)
    table, every = reached(report.lines)
    how = measured_on(report).rpartition(";")[0]  # behind it stands the day, which `setting` says
    said = ". ".join([setting(how), *explained(report)])
    head, *rows = grid(report)
    tables = [
        ("What was to be reached", REACH_HEAD, table),
        ("What was measured", head, rows),
    ]
    show(given.markdown, "benchmarks.serving", said, __doc__, tables)
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
