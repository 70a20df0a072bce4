"""An exported model at work in onnxruntime; needs neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_lab.errors import ModelError, first_line

FILE = "model.onnx"
Arrays = Mapping[str, npt.NDArray[Any]]


class OnnxModel:
    """A model in ONNX, on the CPU.

    Args:
        path: The file, or a folder with `model.onnx`.
        threads: Threads of one operator; 0 leaves it to onnxruntime.

    Raises:
        ModelError: If onnxruntime is not installed, or the file is no such model.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelError(
                f"{path}: onnxruntime is not installed; type: pip install 'distill-lab[onnx]'"
            ) from error
        file = path / FILE if path.is_dir() else path
        if not file.is_file():
            raise ModelError(f"{file}: there is no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            self.session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own, which share no base class
            reason = first_line(error)
            raise ModelError(f"{file}: not a model that onnxruntime can load ({reason})") from error
        self.file = file
        self.inputs = tuple(each.name for each in self.session.get_inputs())
        self.outputs = tuple(each.name for each in self.session.get_outputs())

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Return all outputs by name.

        Args:
            inputs: int64 `input_ids`, `attention_mask`, ... `[batch, length]`, or float32
                `pixel_values`; those that the model does not take are left out.
        """
        given = {name: np.ascontiguousarray(inputs[name]) for name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, given), strict=True))

    def logits(self, inputs: Arrays) -> npt.NDArray[np.float32]:
        """Return the logits.

        `[batch, labels]`, `[batch, length, words]`, or of spans `[batch, 2, length]`.

        Args:
            inputs: As for `run`.
        """
        found = self.run(inputs)
        if "logits" in found:
            return found["logits"]
        return np.stack([found["start_logits"], found["end_logits"]], axis=1)
