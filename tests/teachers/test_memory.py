"""Reading stored signals costs no memory that grows with the rows."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_lab.tasks.batching import scoring_batches
from distill_lab.tasks.tokens import TokenRows
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.types import Outputs, Wanted

LENGTH, WIDTH, BATCH = 32, 256, 64
INSIDE = Wanted((0, 1), ())
STATUS = Path("/proc/self/status")
MB = 2**20


def rows(count: int) -> TokenRows:
    offsets = np.arange(count + 1, dtype=np.int64) * LENGTH
    ids, tokens = np.arange(count)[::-1].copy(), np.ones(count * LENGTH, dtype=np.int32)
    return TokenRows(ids, ids % 3, {"input_ids": tokens}, offsets, {"input_ids": 0})


def write(folder: Path, count: int) -> int:
    """Write signals of rows that tell their ids; return the bytes."""
    writer = SignalWriter(folder, INSIDE, torch.float32)
    for batch in scoring_batches(rows(count), BATCH):
        logits = batch.ids[:, None].float().repeat(1, 3)
        states = logits[:, :1, None].repeat(1, LENGTH, WIDTH)
        writer.add(batch, Outputs(logits, dict.fromkeys(INSIDE.hidden_states, states)))
    writer.flush()
    return sum(path.stat().st_size for path in folder.iterdir())


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def read(folder: Path, count: int, told: Connection) -> None:
    batches = scoring_batches(rows(count), BATCH)
    SignalFiles(folder).signals(next(iter(batches)), INSIDE)  # what the first use costs anybody
    before = peak = anonymous()
    files = SignalFiles(folder)
    opened = anonymous()
    for batch in batches:
        outputs = files.signals(batch, INSIDE)
        assert all(outputs.hidden_states[i][:, -1, -1].equal(batch.ids.float()) for i in (0, 1))
        peak = max(peak, anonymous())
    told.send((opened - before, peak - before))


@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells what memory no file backs")
def test_reading_all_of_it_costs_no_more_than_a_batch(tmp_path: Path) -> None:
    grown = []
    for count in (512, 4096):
        folder = tmp_path / str(count)
        folder.mkdir()
        size = write(folder, count)
        ours, theirs = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("spawn").Process(
            target=read, args=(folder, count, theirs)
        )
        worker.start()
        theirs.close()
        opened, peak = ours.recv()
        worker.join()
        grown.append(peak)
        assert opened < 2 * MB
    assert size > 250 * MB
    # Some batches, however many the allocator holds back; never a share of the rows.
    assert max(grown) < size / 5


@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells what memory no file backs")
def test_a_million_rows_are_opened_in_little_memory(tmp_path: Path) -> None:
    """The ids and their order are all that is held: 24 bytes a row."""
    count = 1_000_000
    writer, ids = SignalWriter(tmp_path, Wanted(), torch.float32), np.arange(count)
    batch = rows(1).__getitems__([0])
    batch.ids = torch.from_numpy(np.random.default_rng(0).permutation(ids))
    batch.labels = batch.ids
    writer.add(batch, Outputs(torch.zeros(count, 3)))
    writer.flush()
    del writer, batch
    before = anonymous()
    files = SignalFiles(tmp_path)
    assert len(files) == count
    assert anonymous() - before < 50 * MB
