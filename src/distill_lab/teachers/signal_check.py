"""Stored signals held against the teacher that gave them."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from distill_lab.budget import Mixed, autocast
from distill_lab.errors import ModelError
from distill_lab.spans import of_tokens
from distill_lab.store import write_atomically
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.rows import spread
from distill_lab.teachers.signal_files import PARTS, SignalFiles
from distill_lab.top_logits import at_indices
from distill_lab.types import Batch, Outputs, TeacherSource, Wanted

_FILE = "made_with.json"
_ROWS = 8
# How far a signal may lie from what it is compared with, as a share of the largest: other batch
# shapes and machines move the last bits, and half precision keeps eight (bfloat16) or eleven.
_FLOAT, _HALF = 1e-3, 2e-2


def say_where(folder: Path, device: torch.device) -> None:
    """Write down what the signals in a folder are made with."""
    write_atomically(folder / _FILE, json.dumps(_here(device), indent=2) + "\n")


def made_elsewhere(folder: Path, device: torch.device) -> bool:
    """Whether signals were made by other versions or on another kind of device."""
    return _there(folder) != _here(device)


def check_signals(
    files: SignalFiles,
    folder: Path,
    teacher: TeacherSource,
    rows: ModelRows,
    wanted: Wanted,
    device: torch.device,
    mixed: Mixed = "",
) -> None:
    """Hold a few stored rows against what the teacher gives now.

    Args:
        files: The stored signals.
        folder: Where they are, for the error.
        teacher: Who is asked again.
        rows: As the teacher reads them.
        wanted: What is stored besides logits.
        device: Where the teacher runs.
        mixed: The half precision in which it computes.

    Raises:
        ModelError: If they differ by more than precision explains.
    """
    batch = rows.__getitems__(spread(len(rows), _ROWS)).to(device)
    stored = files.signals(batch, wanted)
    with autocast(mixed, device):
        now = teacher.signals(batch, wanted)
    logits = _HALF if mixed else _FLOAT
    for name, ours, theirs, share in _pairs(stored, now, batch, logits):
        off = (ours - theirs).abs().max().item()
        if not off <= share * (1 + theirs.abs().max().item()):
            before, here = _there(folder), _here(device)
            changed = [
                f"{key} was {before.get(key)}, is {here[key]}"
                for key in here
                if before.get(key) != here[key]
            ]
            raise ModelError(
                f"teacher.cache: {folder} holds {name} that differ from the teacher's by {off:.2g}"
                f" ({'; '.join(changed) or 'made with the same versions'}); delete that folder, or"
                " take teacher.cache=off"
            )


def _pairs(
    stored: Outputs, now: Outputs, batch: Batch, logits: float
) -> Iterator[tuple[str, Tensor, Tensor, float]]:
    """Give each signal's name, both values without padding, and how far they may lie apart."""
    mask = batch.mask.bool()
    if stored.top is None:
        ours, theirs = stored.logits, now.logits.float()
        if batch.form == "spans":  # what hides padding would hide a difference
            ours, theirs = (of_tokens(each, batch.mask) for each in (ours, theirs))
        yield "logits", ours, theirs, logits
    else:  # at the stored classes: of two that are equal, either may be among the largest
        top = at_indices(now.logits, stored.top.indices, list(stored.top.rest))
        yield "logits", stored.top.values, top.values, logits
        for t in top.rest:
            yield f"mass outside (T = {t:g})", stored.top.outside(t), top.outside(t), logits
    for layer, states in stored.hidden_states.items():
        theirs = now.hidden_states[layer]
        yield f"hidden states ({layer})", states[mask], theirs[mask].float(), _HALF
    for layer, side in stored.attention.items():
        for part in PARTS:
            sides = (getattr(each, part).transpose(1, 2) for each in (side, now.attention[layer]))
            ours, theirs = (vectors[mask].float() for vectors in sides)
            yield f"{part} (layer {layer})", ours, theirs, _HALF


def _here(device: torch.device) -> dict[str, str]:
    versions = {name: version(name) for name in ("torch", "transformers")}
    return {"device": device.type, "machine": platform.machine(), **versions}


def _there(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    return found
