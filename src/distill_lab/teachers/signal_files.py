"""A teacher's signals on disk: rows one after another in safetensors files of some 64 MB.

Each file holds `ids` `[rows]`, and `logits` `[rows, labels]` in float32 or, in their place, the
largest, `top.values`, and their classes, `top.indices`, `[rows, k]`, with `top.rest`
`[rows, temperatures]`: `TopLogits.rest` at the `temperatures` of the metadata. Where more is kept
`offsets` `[rows + 1]`, which say where a row's tokens begin, with `hidden_states.3`
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
from transformers import PretrainedConfig

from distill_lab.attention import head_width
from distill_lab.devices import onto
from distill_lab.tasks.rows import Ids
from distill_lab.tasks.tokens import TokenRows
from distill_lab.top_logits import TopK, TopLogits
from distill_lab.types import Attention, Batch, Outputs, Problem, Wanted

FILE_BYTES = 64 * 2**20
PARTS = ("queries", "keys", "values")


def top_bytes(top: TopK, classes: int) -> int:
    """Return the bytes that the largest logits of a row take."""
    return top.k * (4 + _index_dtype(classes).itemsize) + 4 * len(top.temperatures)


def signal_bytes(
    rows: TokenRows,
    wanted: Wanted,
    config: PretrainedConfig,
    problem: Problem,
    dtype: str,
    top: TopK | None,
) -> int:
    """Return how many bytes signals take."""
    numbers = 0  # of a token
    if wanted.hidden_states:
        numbers += config.hidden_size * len(wanted.hidden_states)
    if wanted.attention:
        numbers += 3 * config.num_attention_heads * head_width(config) * len(wanted.attention)
    each = 2 if dtype == "bfloat16" else 4
    logits = 4 * problem.num_labels if top is None else top_bytes(top, problem.num_labels)
    return len(rows) * (logits + 16) + int(rows.offsets[-1]) * numbers * each


def _index_dtype(classes: int) -> torch.dtype:
    return torch.int16 if classes <= 2**15 else torch.int32


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
        part = {"ids": batch.ids, **self._logits(outputs)}
        if self.wanted != Wanted():
            part["lengths"] = mask.sum(dim=1)
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

    def _logits(self, outputs: Outputs) -> dict[str, Tensor]:
        if outputs.top is None:
            return {"logits": outputs.logits.float()}
        top = outputs.top
        self._about["temperatures"] = json.dumps(list(top.rest))
        rest = torch.stack(list(top.rest.values()), dim=1) if top.rest else top.values[:, :0]
        self._about["classes"] = str(top.classes)
        indices = top.indices.to(_index_dtype(top.classes))
        return {"top.values": top.values, "top.indices": indices, "top.rest": rest}

    def flush(self) -> None:
        """Write what waits into a file."""
        if not self._waiting:
            return
        names = self._waiting[0]
        file = {name: torch.cat([part[name] for part in self._waiting]) for name in names}
        if "lengths" in file:
            ends = file.pop("lengths").cumsum(0)
            file["offsets"] = torch.cat([ends.new_zeros(1), ends])
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
        logits = batch.labels.new_empty(len(batch), 0, dtype=torch.float32)
        if top is None:
            logits = onto(self._rows("logits", where), device)
        at = _places(batch.mask) if wanted != Wanted() else batch.mask
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

    def _tokens(self, name: str, where: list[tuple[int, int]]) -> Iterator[Tensor]:
        for file, row in where:
            start, end = self._files[file]["offsets"][row : row + 2].tolist()
            yield self._files[file][name][start:end]

    def _padded(self, name: str, where: list[tuple[int, int]], at: Tensor) -> Tensor:
        """Return vectors of tokens `[batch, length, ...]` in float32, zeros for padding."""
        found = list(self._tokens(name, where))
        tokens = torch.cat([found[0].new_zeros(1, *found[0].shape[1:]), *found])
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
