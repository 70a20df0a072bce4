"""A teacher's signals on disk: rows one after another in safetensors files of some 64 MB.

Each file holds `ids` `[rows]`, and `logits` `[rows, labels]` in float32 or, in their place, the
largest, `top.values`, and their classes, `top.indices`, `[rows, k]`, with `top.rest`
`[rows, temperatures]`: `TopLogits.rest` at the `temperatures` of the metadata, or `spans`
`[tokens, 2]`, each token's logits of beginning and ending an answer. Where words are predicted,
`answer_offsets` `[rows + 1]` say where the logits of a row's answers begin. Where all tokens have
something, `offsets` `[rows + 1]`, which say where a row's tokens begin, and `hidden_states.3`
`[tokens, width]` and `attention.3.queries`, `.keys`, `.values` `[tokens, heads, width]` without
padding. Files are mapped, not read: a batch costs the pages it touches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from distill_lab.devices import onto
from distill_lab.spans import of_tokens, span_logits
from distill_lab.tasks.rows import Ids
from distill_lab.teachers.signal_bytes import index_dtype
from distill_lab.top_logits import TopLogits
from distill_lab.types import Attention, Batch, Form, Outputs, Wanted

FILE_BYTES = 64 * 2**20
PARTS = ("queries", "keys", "values")


class SignalWriter:
    """Writes signals into a folder, file by file.

    Args:
        folder: An empty folder.
        wanted: What is kept besides logits.
        dtype: What hidden states and attention are kept in.
    """

    def __init__(self, folder: Path, wanted: Wanted, dtype: torch.dtype) -> None:
        self.folder = folder
        self.wanted = wanted
        self.dtype = dtype
        self._waiting: list[dict[str, Tensor]] = []
        self._about: dict[str, str] = {}
        self._written = 0

    def add(self, batch: Batch, outputs: Outputs) -> None:
        """Add the rows of a batch.

        Args:
            batch: As the teacher reads it.
            outputs: What the teacher gives for it.
        """
        mask = batch.mask.bool()
        part = {"ids": batch.ids, **self._logits(outputs, mask, batch.form)}
        if self.wanted != Wanted() or "spans" in part:
            part["lengths"] = mask.sum(dim=1)
        if batch.form == "tokens":
            assert batch.asked is not None
            part["counts"] = batch.asked.sum(dim=1)
        for layer in self.wanted.hidden_states:
            part[f"hidden_states.{layer}"] = outputs.hidden_states[layer][mask].to(self.dtype)
        for layer in self.wanted.attention:
            side = outputs.attention[layer]
            self._about |= {f"scale.{layer}": repr(side.scale), f"sees.{layer}": _sees(side, mask)}
            for name in PARTS:
                vectors = getattr(side, name).transpose(1, 2)[mask].to(self.dtype)
                part[f"attention.{layer}.{name}"] = vectors
        self._waiting.append({name: value.cpu() for name, value in part.items()})
        if sum(x.nbytes for each in self._waiting for x in each.values()) >= FILE_BYTES:
            self.flush()

    def _logits(self, outputs: Outputs, mask: Tensor, form: Form) -> dict[str, Tensor]:
        if form == "spans":
            return {"spans": of_tokens(outputs.logits, mask)}
        if outputs.top is None:
            return {"logits": outputs.logits.float()}
        top = outputs.top
        self._about["temperatures"] = json.dumps(list(top.rest))
        rest = torch.stack(list(top.rest.values()), dim=1) if top.rest else top.values[:, :0]
        self._about["classes"] = str(top.classes)
        indices = top.indices.to(index_dtype(top.classes))
        return {"top.values": top.values, "top.indices": indices, "top.rest": rest}

    def flush(self) -> None:
        """Write what waits into a file."""
        if not self._waiting:
            return
        names = self._waiting[0]
        file = {name: torch.cat([part[name] for part in self._waiting]) for name in names}
        for counted, offsets in (("lengths", "offsets"), ("counts", "answer_offsets")):
            if counted in file:
                ends = file.pop(counted).cumsum(0)
                file[offsets] = torch.cat([ends.new_zeros(1), ends])
        save_file(file, self.folder / f"{self._written:05d}.safetensors", self._about)
        self._written += 1
        self._waiting.clear()


def _sees(side: Attention, mask: Tensor) -> str:
    """Return which tokens a layer lets see each other: "all", or those to the "left".

    Raises:
        NotImplementedError: If it is neither, as in a window that slides.
    """
    if side.allowed is None:
        return "all"
    tokens = mask[:, None, :, None] & mask[:, None, None, :]
    length = mask.shape[1]
    left = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    if torch.equal(side.allowed & tokens, tokens):
        return "all"
    if torch.equal(side.allowed & tokens, tokens & left):
        return "left"
    raise NotImplementedError("attention that sees neither all tokens nor those to the left")


def _places(mask: Tensor) -> Tensor:
    """Return where each token of `[batch, length]` stands in a line of all, from 1; 0 is padding.

    A GPU does not wait here, as it would to find out how many tokens there are.
    """
    return mask.flatten().cumsum(0).view_as(mask) * mask


def _together(parts: list[Tensor]) -> Tensor:
    with torch.autocast("cpu", enabled=False):  # of float16, which refuses parts in bfloat16
        return torch.cat(parts)


class SignalFiles:
    """Reads what `SignalWriter` has written; rows are found by their ids.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._files: list[Mapping[str, Tensor]] = []
        self._about: dict[str, str] = {}
        for path in sorted(folder.glob("[0-9]*.safetensors")):
            with safe_open(path, framework="pt") as file:
                self._about |= file.metadata() or {}
                self._files.append({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        counts = [len(file["ids"]) for file in self._files]
        ids = np.concatenate([file["ids"].numpy() for file in self._files])
        self._order = np.argsort(ids)
        self._ids = ids[self._order]
        if (np.diff(self._ids) == 0).any():
            raise ValueError("signals of several rows have the same id")
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return len(self._ids)

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Return what is kept of the rows of a batch, padded as the batch is, on its device.

        Raises:
            KeyError: If a row or a signal is not there.
        """
        where = self._find(batch.ids.numpy())
        device = batch.labels.device
        top = self._top(where, device)
        spans = "spans" in self._files[0]
        at = _places(batch.mask) if wanted != Wanted() or spans else batch.mask
        if spans:
            both = self._padded("spans", where, at)
            logits = span_logits(both[..., 0], both[..., 1], batch.mask)
        elif top is None:
            logits = onto(self._rows("logits", where), device)
        else:
            logits = top.values[:, :0]
        hidden = {
            layer: self._padded(f"hidden_states.{layer}", where, at)
            for layer in wanted.hidden_states
        }
        attention = {layer: self._attention(layer, where, at) for layer in wanted.attention}
        return Outputs(logits, hidden, attention, top)

    def _find(self, ids: Ids) -> list[tuple[int, int]]:
        """Return the file of each row and its place there."""
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        if not np.array_equal(self._ids[at], ids):
            missing = ids[self._ids[at] != ids][0]
            raise KeyError(f"row {missing} is not among the stored signals")
        rows = self._order[at]
        files = np.searchsorted(self._starts, rows, side="right") - 1
        return list(zip(files.tolist(), (rows - self._starts[files]).tolist(), strict=True))

    def _rows(self, name: str, where: list[tuple[int, int]]) -> Tensor:
        if "answer_offsets" in self._files[0]:
            return _together(list(self._tokens(name, where, "answer_offsets")))
        return torch.stack([self._files[file][name][row] for file, row in where])

    def _top(self, where: list[tuple[int, int]], device: torch.device) -> TopLogits | None:
        if "temperatures" not in self._about:
            return None
        values, indices, rest = (
            onto(self._rows(f"top.{name}", where), device) for name in ("values", "indices", "rest")
        )
        temperatures = json.loads(self._about["temperatures"])
        of_each = dict(zip(temperatures, rest.unbind(dim=1), strict=True))
        return TopLogits(values, indices.long(), of_each, int(self._about["classes"]))

    def _tokens(
        self, name: str, where: list[tuple[int, int]], offsets: str = "offsets"
    ) -> Iterator[Tensor]:
        for file, row in where:
            start, end = self._files[file][offsets][row : row + 2].tolist()
            yield self._files[file][name][start:end]

    def _padded(self, name: str, where: list[tuple[int, int]], at: Tensor) -> Tensor:
        """Return vectors of tokens `[batch, length, ...]` in float32, zeros for padding."""
        found = list(self._tokens(name, where))
        tokens = _together([found[0].new_zeros(1, *found[0].shape[1:]), *found])
        if at.device.type == "cpu" and int(at.max()) + 1 != len(tokens):
            raise ValueError(
                f"{len(tokens) - 1} tokens are stored of rows that have {int(at.max())}"
            )
        tokens = onto(tokens, at.device)
        return tokens.index_select(0, at.flatten()).float().view(*at.shape, *tokens.shape[1:])

    def _attention(self, layer: int, where: list[tuple[int, int]], at: Tensor) -> Attention:
        queries, keys, values = (
            self._padded(f"attention.{layer}.{name}", where, at).transpose(1, 2) for name in PARTS
        )
        length = at.shape[1]
        left = self._about[f"sees.{layer}"] == "left"
        allowed = torch.ones(length, length, dtype=torch.bool, device=at.device).tril()
        return Attention(
            queries,
            keys,
            values,
            float(self._about[f"scale.{layer}"]),
            allowed if left else None,
        )
