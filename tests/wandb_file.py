"""Reads a W&B offline run: a LevelDB log of protobuf records."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def chunks(content: bytes) -> Iterator[bytes]:
    """Yield the log's records; each is one piece or several (LevelDB's log format)."""
    position = _HEADER  # ":W&B", a magic number and a version
    parts: list[bytes] = []
    while position + _HEADER <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + _HEADER])
        position += _HEADER
        if kind == 0:
            break
        parts.append(content[position : position + length])
        position += length
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []


def read(path: Path) -> dict[str, Any]:
    """Return a run's name, group, config, history rows, summary, artifacts and exit code."""
    run: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "exit": None}
    run["artifacts"] = []
    for chunk in chunks(path.read_bytes()):
        record = Record()
        record.ParseFromString(chunk)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run["name"], run["group"] = record.run.display_name, record.run.run_group
            run["id"], run["project"] = record.run.run_id, record.run.project
            run["job_type"] = record.run.job_type
            run["config"] |= _items(record.run.config.update)
        elif kind == "config":
            run["config"] |= _items(record.config.update)
        elif kind == "history":
            run["history"].append(_items(record.history.item))
        elif kind == "summary":
            run["summary"] |= _items(record.summary.update)
        elif kind == "artifact":
            run["artifacts"].append(_artifact(record.artifact))
        elif kind == "exit":
            run["exit"] = record.exit.exit_code
    return run


def _artifact(record: Any) -> dict[str, Any]:
    """Return an artifact's name, type, metadata, files, and whether it is an input."""
    files = {each.path: each.ref or each.local_path for each in record.manifest.contents}
    return {
        "name": record.name,
        "type": record.type,
        "aliases": list(record.aliases),
        "metadata": json.loads(record.metadata or "{}"),
        "files": files,
        "input": record.use_after_commit,
    }


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def offline_runs(folder: Path, wait: float = 60.0) -> list[dict[str, Any]]:
    """Read all offline runs below a folder.

    W&B's own process writes the file and may still be at its last records when a run is finished.
    """
    last = time.monotonic() + wait
    while True:
        runs = [read(path) for path in sorted(folder.rglob("run-*.wandb"))]
        if all(run["exit"] is not None for run in runs) or time.monotonic() > last:
            return runs
        time.sleep(0.2)
