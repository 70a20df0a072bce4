"""Batches of similar length, in an order fixed by seed and epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from distill_lab.tasks.batching import (
    Beside,
    LengthGrouped,
    SortedByLength,
    scoring_batches,
    training_batches,
)
from distill_lab.tasks.tokens import TokenRows
from distill_lab.types import Batch

LENGTHS = np.random.default_rng(0).integers(3, 60, 5000)


def token_rows(lengths: np.ndarray) -> TokenRows:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate([np.full(n, i + 1) for i, n in enumerate(lengths)]).astype(np.int32)
    ids = np.arange(len(lengths)) + 100
    return TokenRows(ids, ids % 3, {"input_ids": tokens}, offsets, {"input_ids": 0})


def test_every_row_comes_once_an_epoch() -> None:
    sampler = LengthGrouped(LENGTHS, 32, seed=1)
    rows = [i for batch in sampler for i in batch]
    assert sorted(rows) == list(range(5000))
    assert len(sampler) == len(list(sampler)) == 157


def test_order_is_fixed_by_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = LengthGrouped(LENGTHS, 32, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_batches_hold_rows_of_similar_length() -> None:
    def padding(batches: list[list[int]]) -> float:
        padded = sum(max(LENGTHS[b]) * len(b) for b in batches)
        return padded / LENGTHS.sum() - 1

    shuffled = np.random.default_rng(1).permutation(5000)
    plain = [shuffled[i : i + 32].tolist() for i in range(0, 5000, 32)]
    assert padding(list(LengthGrouped(LENGTHS, 32, 0))) < 0.1 < padding(plain)


def test_batches_do_not_come_in_order_of_length() -> None:
    longest = [max(LENGTHS[b]) for b in LengthGrouped(LENGTHS, 32, 0)]
    assert np.abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_scoring_goes_from_short_to_long_and_leaves_nothing_out() -> None:
    batches = list(SortedByLength(LENGTHS, 100))
    rows = [i for batch in batches for i in batch]
    assert sorted(rows) == list(range(5000))
    assert (np.diff(LENGTHS[rows]) >= 0).all()


@pytest.mark.parametrize("loader", ["training", "scoring"])
def test_batches_are_padded_to_their_longest(loader: str) -> None:
    lengths = LENGTHS[:70]
    rows = token_rows(lengths)
    made = training_batches(rows, 8, 0) if loader == "training" else scoring_batches(rows, 8)
    seen = []
    for batch in made:
        positions = batch.ids.numpy() - 100
        seen += positions.tolist()
        mask = batch.inputs["attention_mask"]
        assert mask.shape[1] == lengths[positions].max()
        assert mask.sum(dim=1).tolist() == lengths[positions].tolist()
        tokens = batch.inputs["input_ids"]
        assert (tokens[mask == 0] == 0).all()
        expected = np.repeat(positions + 1, lengths[positions])
        assert tokens[mask == 1].tolist() == expected.tolist()
        assert batch.labels.tolist() == (batch.ids % 3).tolist()
    assert sorted(seen) == list(range(70))


def test_workers_give_the_same_batches_of_every_epoch() -> None:
    def epochs(workers: int) -> list[Batch]:
        made = training_batches(token_rows(LENGTHS[:70]), 8, 0, 2, beside=Beside(workers))
        found = []
        for epoch in range(2):
            made.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            found += list(made)
        return found

    alone, helped = epochs(0), epochs(2)
    assert len(alone) == len(helped) == 18
    for one, two in zip(alone, helped, strict=True):
        assert torch.equal(one.ids, two.ids) and torch.equal(one.labels, two.labels)
        assert one.per_step == two.per_step and one.inputs.keys() == two.inputs.keys()
        assert all(torch.equal(values, two.inputs[name]) for name, values in one.inputs.items())


def test_all_that_a_gpu_fetches_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = next(iter(training_batches(token_rows(LENGTHS[:8]), 8, 0)))
    batch = replace(batch, asked=batch.mask.bool(), teacher_inputs=dict(batch.inputs))
    made = list[torch.Tensor]()

    def copied(values: torch.Tensor) -> torch.Tensor:  # the real one needs a GPU
        made.append(values.clone())
        return made[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", copied)
    pinned = batch.pin_memory()
    pairs = [(batch.labels, pinned.labels), (batch.asked, pinned.asked)]
    for name, values in batch.inputs.items():
        pairs += [(values, pinned.inputs[name]), (values, pinned.teacher_inputs[name])]
    for was, put in pairs:
        assert was is not None and put is not None and torch.equal(was, put)
        assert any(put is each for each in made)


@pytest.mark.parametrize("count", [5000, 4993, 70, 33, 5])
@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (4, 1), (3, 2)])
def test_processes_share_the_rows(count: int, world: int, accumulate: int) -> None:
    lengths = LENGTHS[:count]
    samplers = [LengthGrouped(lengths, 32, 1, accumulate, rank, world) for rank in range(world)]
    batches = [list(sampler) for sampler in samplers]
    assert {len(each) for each in batches} == {len(sampler) for sampler in samplers}
    rows = [i for each in batches for batch in each for i in batch]
    assert sorted(rows) == list(range(count))
    assert all(len(batch) > 0 for each in batches for batch in each)
    # what a rank divides by is the mean over all ranks and the step's batches
    for start in range(0, len(batches[0]), accumulate):
        step = [batch for each in batches for batch in each[start : start + accumulate]]
        tokens = sum(int(lengths[batch].sum()) for batch in step)
        for batch in step:
            assert batch.per_step["rows"] == sum(map(len, step)) / (world * accumulate)
            assert batch.per_step["tokens"] == tokens / (world * accumulate)


def test_two_processes_take_the_batches_of_two_steps_that_one_accumulates() -> None:
    alone = list(LengthGrouped(LENGTHS[:4992], 32, 1, accumulate=2))
    first, second = (list(LengthGrouped(LENGTHS[:4992], 32, 1, 1, rank, 2)) for rank in (0, 1))
    assert alone[::2] == first and alone[1::2] == second
    assert [b.per_step for b in alone[::2]] == [b.per_step for b in first]


def test_processes_score_every_row_once() -> None:
    parts = [list(SortedByLength(LENGTHS, 100, rank, 3)) for rank in range(3)]
    assert sorted(i for part in parts for batch in part for i in batch) == list(range(5000))


@pytest.mark.parametrize("rows", [2, 3, 100, 101, 301, 4999])
def test_processes_score_equally_many_batches(rows: int) -> None:
    """Those that divide a model among them call it together."""
    samplers = [SortedByLength(LENGTHS[:rows], 100, rank, 2) for rank in (0, 1)]
    batches = [list(sampler) for sampler in samplers]
    assert len(batches[0]) == len(batches[1]) == len(samplers[0])
    assert all(0 < len(batch) <= 100 for part in batches for batch in part)
    assert len(list(SortedByLength(LENGTHS[:1], 100, 0, 2))) == 1  # no row is left for the other
    assert not list(SortedByLength(LENGTHS[:1], 100, 1, 2))
