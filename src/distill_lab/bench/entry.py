"""What a measurement leaves in `result.json`: one entry a model, form, device and set of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_lab.disk import saving
from distill_lab.errors import DataError, first_line
from distill_lab.folders import locked
from distill_lab.plain_json import read_json
from distill_lab.results.result import FILE
from distill_lab.store import write_atomically

DISTURBED = 1.5
"""A `latency_spread` above which milliseconds are not to be trusted."""
_IDENTITY = ("model", "form", "device", "machine", "rows")


@dataclass(frozen=True)
class Entry:
    """One model in one form, measured.

    Attributes:
        model: "student", "teacher" or "baseline" of the run, or the name that was given.
        form: "eager", "compiled", "onnx", "int8" or "onnx-int8".
        device: "cpu" or "cuda".
        machine: `name` of the processor or GPU, `threads` that computed.
        rows: `name` and `fingerprint` of what was read; rows at batch 1 (`single`), rows of the
            passes in batches (`batched`), and their `median_length` in tokens, None for pictures.
        latency_p50_ms: Median milliseconds of a row at batch 1, over all rows and repetitions.
        latency_p95_ms: The same, of which 5 in 100 take longer.
        latency_spread: The greatest median latency of a repetition over the least one; far above 1
            where the machine did other things.
        examples_per_second: Rows in batches by the seconds they took, median of the repetitions.
        size_mb: Bytes of the weights' files, in 10^6.
        parameters: Numbers that the model was trained with.
        flops: Floating-point operations of a row of median length (`bench.flops`).
        peak_memory_mb: Most memory while answering, above that of the process without the model,
            in 10^6 bytes; on a GPU what torch has taken of it.
        process_memory_mb: The same of the whole process, with Python and the libraries.
        energy_j: Joules for 1,000 rows in batches; None if not measured.
        repetitions: Rounds that count.
        warm_up: Rounds before them.
        batch_size: Rows of a batch.
        versions: Of Python and the packages that computed.
        date: ISO day.
    """

    model: str
    form: str
    device: str
    machine: Mapping[str, Any]
    rows: Mapping[str, Any]
    latency_p50_ms: float
    latency_p95_ms: float
    latency_spread: float
    examples_per_second: float
    size_mb: float
    parameters: int
    flops: int | None
    peak_memory_mb: float
    process_memory_mb: float
    energy_j: float | None
    repetitions: int
    warm_up: int
    batch_size: int
    versions: Mapping[str, str]
    date: str

    def plain(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return asdict(self)


def merged(old: Iterable[Mapping[str, Any]], new: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return old entries without those that new ones replace, and the new ones."""
    added = [entry.plain() for entry in new]
    replaced = [_identity(entry) for entry in added]
    return [*(dict(entry) for entry in old if _identity(entry) not in replaced), *added]


def record(folder: Path, entries: Sequence[Entry]) -> None:
    """Add entries to the result of a run; all else in the file stays as it is.

    Args:
        folder: The run's.
        entries: What was measured of its models.

    Raises:
        DataError: If the folder has no result any more.
        DiskError: If the disk is full, or the folder may not be written to; the result is as it
            was.
    """
    file = folder / FILE
    with saving(folder, ""), locked(file):
        try:
            content = read_json(file.read_text(encoding="utf-8"))
            content["bench"] = merged(content.get("bench", []), entries)
        except (ValueError, TypeError, AttributeError, FileNotFoundError) as error:
            reason = first_line(error)
            raise DataError(f"{file}: not a result of distill-lab ({reason})") from error
        write_atomically(file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _identity(entry: Mapping[str, Any]) -> list[Any]:
    return [entry.get(name) for name in _IDENTITY]
