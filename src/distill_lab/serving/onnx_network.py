"""An exported model in the place of one of transformers, for what tasks ask of a model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PretrainedConfig

from distill_lab.serving.onnx_model import OnnxModel


class OnnxNetwork(nn.Module):
    """Answers as the model does from which it was exported, on the CPU.

    Args:
        folder: With `model.onnx`.
        config: Of the model.
    """

    dtype = torch.float32
    device = torch.device("cpu")
    _compiled_call_impl = None

    def __init__(self, folder: Path, config: PretrainedConfig) -> None:
        super().__init__()
        self.session = OnnxModel(folder)
        self.config = config
        self.generation_config = GenerationConfig.from_model_config(config)

    def get_output_embeddings(self) -> None:
        """Return nothing: all words are predicted at every place."""

    def to(self, *where: Any, **how: Any) -> OnnxNetwork:
        """Stay where it is."""
        return self

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **unused: Any,
    ) -> SimpleNamespace:
        """Return `logits`, or `start_logits` and `end_logits`.

        Args:
            input_ids: `[batch, length]`.
            attention_mask: The same shape.
            token_type_ids: The same shape; zeros where a task gives none.
            pixel_values: `[batch, channels, height, width]`.
            **unused: What models of transformers are asked for besides.
        """
        if token_type_ids is None and input_ids is not None:
            token_type_ids = torch.zeros_like(input_ids)
        named = {
            "input_ids": input_ids, "attention_mask": attention_mask,
            "token_type_ids": token_type_ids, "pixel_values": pixel_values,
        }  # fmt: skip
        given = {name: value.cpu().numpy() for name, value in named.items() if value is not None}
        found = self.session.run(given)
        return SimpleNamespace(**{name: torch.from_numpy(out) for name, out in found.items()})

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        generation_config: GenerationConfig,
        logits_processor: Any = (),
    ) -> Tensor:
        """Return prompts with the likeliest words behind them, as transformers does.

        Each word costs a pass over all that stands before it: the graph keeps no keys and values.

        Args:
            input_ids: `[batch, length]`, padded before.
            attention_mask: The same shape.
            generation_config: Gives the most new words, and what ends and fills a row.
            logits_processor: None are known here.
        """
        assert not len(logits_processor)
        most, pad = int(generation_config.max_new_tokens or 0), generation_config.pad_token_id or 0
        end = np.atleast_1d(np.asarray(generation_config.eos_token_id or [], dtype=np.int64))
        lengths = attention_mask.sum(dim=1).numpy()
        rows = [row[-n:] for row, n in zip(input_ids.numpy(), lengths, strict=True)]
        written = np.full((len(rows), most), pad, dtype=np.int64)
        open_rows = list(range(len(rows)))
        for step in range(most):
            if not open_rows:
                break
            for row, word in zip(open_rows, self._next([rows[r] for r in open_rows]), strict=True):
                rows[row] = np.append(rows[row], word)
                written[row, step] = word
            open_rows = [row for row in open_rows if written[row, step] not in end]
        return torch.cat([input_ids, torch.from_numpy(written)], dim=1)

    def _next(self, rows: list[np.ndarray[Any, np.dtype[np.int64]]]) -> np.ndarray[Any, Any]:
        """Return the likeliest word behind each row; padded behind, which looks at none of it."""
        lengths = np.asarray([len(row) for row in rows])
        mask = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask.astype(bool)] = np.concatenate(rows)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits = self.session.run(given)["logits"]
        found: np.ndarray[Any, Any] = logits[np.arange(len(rows)), lengths - 1].argmax(axis=1)
        return found
