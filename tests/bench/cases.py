"""What the tests of `bench` share."""

from __future__ import annotations

from typing import Any

from distill_lab.bench.entry import Entry


def entry(**changed: Any) -> Entry:
    """An entry with some fields of one's own."""
    rows = {
        "name": "mrpc: evaluation",
        "fingerprint": "0" * 16,
        "single": 50,
        "batched": 128,
        "median_length": 52,
    }
    fields: dict[str, Any] = {
        "model": "student",
        "form": "eager",
        "device": "cpu",
        "machine": {"name": "a processor", "threads": 2},
        "rows": rows,
        "latency_p50_ms": 10.0,
        "latency_p95_ms": 20.0,
        "latency_spread": 1.1,
        "examples_per_second": 300.0,
        "size_mb": 90.9,
        "parameters": 22_700_000,
        "flops": 2_000_000_000,
        "peak_memory_mb": 150.0,
        "process_memory_mb": 600.0,
        "energy_j": None,
        "repetitions": 10,
        "warm_up": 1,
        "batch_size": 32,
        "versions": {"python": "3.11.2"},
        "date": "2026-01-02",
    }
    return Entry(**{**fields, **changed})
