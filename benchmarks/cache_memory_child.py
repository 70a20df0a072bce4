"""The processes that `cache_memory.py` measures; each does one thing and prints its memory.

python -m benchmarks.cache_memory_child store|distil|finetune DATA TOKENIZER ROWS FOLDER THREADS
python -m benchmarks.cache_memory_child write FOLDER ROWS CLASSES
python -m benchmarks.cache_memory_child open FOLDER
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from benchmarks.scene import Scene
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.types import Batch, Outputs, Wanted

MB, SOME, SIZE = 1e6, 20, 32
STATUS = ("RssAnon", "RssFile", "VmRSS")


def train(kind: str, data: str, tokenizer: str, rows: str, folder: str, threads: str) -> None:
    """Store signals, or train from them or on labels, and print the peak in MB."""
    torch.set_num_threads(int(threads))
    here = Scene(Path(data), Path(tokenizer), int(rows), Path(folder))
    if kind == "store":
        here.build("teacher.cache=on")
        return
    built = here.build("teacher.cache=on")
    student = here.model(6)
    (here.distil if kind == "distil" else here.finetune)(student, built)
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB)


def write(folder: str, rows: str, classes: str) -> None:
    """Write random logits of many rows, in an order that is not theirs."""
    draw = torch.Generator().manual_seed(0)
    writer = SignalWriter(Path(folder), Wanted(), torch.float32)
    for ids in torch.randperm(int(rows), generator=draw).split(4096):
        logits = torch.randn(len(ids), int(classes), generator=draw)
        writer.add(_batch(ids), Outputs(logits))
    writer.flush()


def opening(folder: str) -> None:
    """Open them, read some batches and then all rows; print what the kernel says of each moment."""
    draw = torch.Generator().manual_seed(1)
    _say("before opening")
    files = SignalFiles(Path(folder))
    _say("opened")
    order = torch.randperm(len(files), generator=draw)
    batches = order.split(SIZE)
    _say("rows shuffled, which is not the signals'")
    for ids in batches[:SOME]:
        files.signals(_batch(ids), Wanted())
    _say(f"{SOME} batches of {SIZE} read")
    for ids in batches:
        files.signals(_batch(ids), Wanted())
    _say("every row read once")


def _batch(ids: torch.Tensor) -> Batch:
    one = torch.ones(len(ids), 1, dtype=torch.int64)
    return Batch(ids, {"attention_mask": one}, torch.zeros(len(ids), dtype=torch.int64))


def _say(moment: str) -> None:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    sizes = [int(found[name].split()[0]) * 1024 / MB for name in STATUS]
    print("\t".join([moment, *map(str, sizes)]), flush=True)


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb in ("write", "open"):
        (write if verb == "write" else opening)(*words)
    else:
        train(verb, *words)
