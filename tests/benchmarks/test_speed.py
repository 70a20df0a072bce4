"""The benchmarks of speed and memory, without their measurements: clocks, tables, equal work."""

import csv
import json
import time
from itertools import accumulate

import pytest
import torch
from benchmarks.scene import Scene, distillation

from benchmarks import cache_memory, overhead, startup, startup_trace, throughput, timing
from distill_lab.models import state_fingerprint
from tests.conftest import sentences


@pytest.fixture
def ticking(monkeypatch):
    """Seconds of the clock, to be set by a test."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_stopwatch_leaves_out_the_warm_up(ticking):
    watch = timing.Stopwatch(2)
    for seconds, rows in ((100, 32), (50, 32), (2, 32), (4, 10)):
        ticking[0] += seconds
        watch.step(rows)
    assert (watch.steps, watch.seconds) == (2, 6)
    assert watch.examples_per_second == 42 / 6
    assert watch.seconds_per_step == 3


def test_without_warm_up_the_first_step_starts_the_clock(ticking):
    watch = timing.Stopwatch(0)
    for _ in range(3):
        ticking[0] += 5
        watch.step(32)
    assert (watch.steps, watch.seconds) == (2, 10)


def test_a_warm_up_of_the_whole_training_is_refused():
    watch = timing.Stopwatch(1)
    watch.step(32)
    with pytest.raises(ValueError, match="1 steps, 1 of them warm-up"):
        _ = watch.seconds


def test_arms_take_turns_forwards_and_backwards():
    order = []

    def arm(name):
        def run():
            order.append(name)
            return timing.Stopwatch(0)

        return run

    found = timing.take_turns({name: arm(name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert {name: len(each) for name, each in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_taken_round_for_round_and_spread_is_median_and_ends():
    assert timing.spread(timing.ratios([4, 9, 2], [2, 3, 2])) == "2.00 (1.00 to 3.00)"


def watch(*seconds, rows=1):
    """A stopwatch that has seen steps of so many rows, which took so long."""
    found = timing.Stopwatch(0)
    found._ends = [0.0, *accumulate(seconds)]
    found._rows = [rows] * len(found._ends)
    return found


def test_what_disturbs_some_steps_of_a_round_does_not_count():
    rounds = [watch(1, 2, 9), watch(8, 2, 3), watch(1, 7, 3)]
    assert timing.usual(rounds).durations == [1, 2, 3]
    assert timing.measured(rounds, lambda w: w.seconds) == "6.00 (11.00 to 13.00)"
    twice = [watch(2, 4, 6), watch(2, 4, 6), watch(2, 4, 6)]
    assert timing.compared(rounds, twice, lambda w: w.seconds) == "0.50 (0.92 to 1.08)"


def test_rounds_of_other_steps_are_refused():
    with pytest.raises(ValueError, match="zip"):
        timing.usual([watch(1, 2), watch(1, 2, 3)])


def test_throughput_tells_both_ways_and_what_must_be_reached():
    fast = "distill_lab, quick"
    rates = {throughput.OURS: 100, fast: 150, throughput.TRAINER: 25}
    found = {name: [watch(1, 1, rows=rate)] for name, rate in rates.items()}
    ours, quick, trainer = throughput.lines(found, fast)
    assert ours[1:4] == ["100.0 (100.0 to 100.0)", "", ""]
    assert quick[3:] == ["1.500 (1.500 to 1.500)", "this / distill_lab: 1.3"]
    assert trainer[2] == "4.00 (4.00 to 4.00)"
    assert trainer[4] == "distill_lab / this: 3.5"


def test_overhead_is_over_the_bare_loop():
    found = {overhead.BARE: [watch(0.010, 0.010)], overhead.OURS: [watch(0.011, 0.011)]}
    bare, ours = overhead.lines("2 x 128", found)
    assert bare[2] == "10.00 (10.00 to 10.00)"
    assert ours[3:5] == ["1.00 (1.00 to 1.00)", "10.0 (10.0 to 10.0)"]


def test_peaks_are_compared_round_for_round():
    ours, alone = cache_memory.peak_lines({"distil": [103.0, 110.0], "finetune": [100.0, 100.0]})
    assert ours[2] == "1.065 (1.030 to 1.100)"
    assert alone[2] == ""


def test_opening_is_told_from_where_it_began():
    said = ["before\t100\t50\t150", "after\t120.5\t90\t210.5"]
    before, after = cache_memory.opened_lines(said)
    assert before == ["before", "100.0", "50.0", "150.0", "0.0"]
    assert after == ["after", "120.5", "90.0", "210.5", "20.5"]


def test_imports_are_summed_by_package():
    said = """import time: self [us] | cumulative | imported package
import time:      1000 |       1000 |   torch._C
import time:   2000000 |    2001000 | torch
a line of something else
import time:       500 |        500 |     numpy
"""
    assert startup.import_lines(said) == [
        ["torch", "2.00", "2"], ["numpy", "0.00", "1"], ["0 more", "0.00", "0"],
        ["all", "2.00", "3"],
    ]  # fmt: skip


def test_parts_of_a_start_are_medians_with_shares():
    rounds = [{"a": 1.0, "b": 3.0}, {"a": 1.0, "b": 9.0}, {"b": 3.0}]
    assert startup.phase_lines(rounds) == [["b", "3.00", "75"], ["a", "1.00", "25"]]


def test_a_part_is_not_charged_with_the_parts_inside(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    trace = startup_trace.Trace(9.0)
    trace.started()

    def inner():
        now[0] += 5

    with trace.part("outer"):
        now[0] += 1
        trace.around(inner, "inner")()
        now[0] += 2
    trace.charge()
    assert trace.seconds == {
        "starting the interpreter": 1, "outer": 3, "inner": 5, "the rest": 0
    }  # fmt: skip


@pytest.mark.parametrize("dotted", startup_trace.WRAPPED)
def test_what_is_timed_is_still_there(dotted):
    place, name = startup_trace.owner(dotted)
    assert callable(getattr(place, name))


def test_a_mark_is_read_from_between_other_lines():
    said = {"at": 3.5, "rows: reading": 1.0}
    assert startup.marked(f"a\n{startup_trace.MARK}{json.dumps(said)}\nb") == said


def test_the_bare_loop_does_what_the_lab_does(tmp_path, encoder):
    for name, seed in (("train", 0), ("dev", 1)):
        table = sentences(200, seed).rename(columns={"text": "sentence"})
        table["label"] = (table["label"] == "positive").astype(int)
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE)
    here = Scene(tmp_path, encoder, 96, tmp_path, warmup=1)
    built = here.build("trainer.gradient_clip_val=0.01")
    ours, bare = here.model(1, 64), here.model(1, 64)
    before = state_fingerprint(ours.state_dict())
    watches = here.distil(ours, built), here.bare(bare, built, distillation(built))
    assert [watch.steps for watch in watches] == [2, 2]
    assert state_fingerprint(ours.state_dict()) == state_fingerprint(bare.state_dict()) != before
    assert not torch.are_deterministic_algorithms_enabled()
