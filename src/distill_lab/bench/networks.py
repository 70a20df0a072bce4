"""A model in one form, ready to be called: what the measuring process runs."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_lab.bench.passes import Arrays

if TYPE_CHECKING:  # onnxruntime is measured without torch in memory
    from distill_lab.types import Problem

Call = Callable[[], None]


@dataclass(frozen=True)
class Spec:
    """What a measuring process is told; plain data.

    Attributes:
        path: Folder or hub name of the model, of the ONNX folder for these forms.
        problem: What it answers, see `types.Problem`.
        pad: Its tokeniser's padding, for models that look for the last token of a row.
        form: One of `asked.FORMS`.
        device: "cpu" or "cuda".
        threads: That compute.
        passes: File of what it reads.
    """

    path: str
    problem: Mapping[str, Any]
    pad: int | None
    form: str
    device: str
    threads: int
    passes: str


@dataclass(frozen=True)
class Network:
    """A model that has been loaded.

    Attributes:
        calls: Turns inputs into something to be called: one forward pass.
        saved_bytes: What its weights take on disk where that is not a file's size; else None.
    """

    calls: Callable[[Sequence[Arrays]], list[Call]]
    saved_bytes: int | None = None


def opened(spec: Spec) -> Network:
    """Load a model in its form.

    Raises:
        ModelError: If it cannot be loaded, or a package is missing.
    """
    return _onnx(spec) if spec.form.startswith("onnx") else _torch(spec)


def class_of(spec: Spec) -> object:
    """Import and return the class of a torch model, None where there is none."""
    from distill_lab.heads import model_class
    from distill_lab.models import load_config

    return model_class(load_config(spec.path, "model"), _problem(spec))


def _problem(spec: Spec) -> Problem:
    from distill_lab.types import Problem

    return Problem(**{**spec.problem, "labels": tuple(spec.problem["labels"])})


def _onnx(spec: Spec) -> Network:
    from distill_lab.serving.onnx_model import OnnxModel

    model = OnnxModel(Path(spec.path), spec.threads)

    def calls(inputs: Sequence[Arrays]) -> list[Call]:
        return [lambda each=each: _ignored(model.run(each)) for each in inputs]  # type: ignore[misc]

    return Network(calls)


def _torch(spec: Spec) -> Network:
    from distill_lab.quiet import quiet_libraries

    quiet_libraries()
    import torch

    from distill_lab.devices import onto, wait_for
    from distill_lab.models import load_model

    model = load_model(spec.path, _problem(spec), "model").eval().requires_grad_(False)
    if spec.pad is not None:
        model.config.pad_token_id = spec.pad
    accepted = inspect.signature(type(model).forward).parameters
    more = {"use_cache": False} if "use_cache" in accepted else {}
    saved = None
    if spec.form == "int8":
        from distill_lab.export.formats import to_int8

        model = to_int8(model)
        saved = _saved_bytes(model)
    device = torch.device(spec.device)
    model.to(device)
    if spec.form == "compiled":
        model.compile(dynamic=True)

    def calls(inputs: Sequence[Arrays]) -> list[Call]:
        tensors = [
            {name: torch.from_numpy(values) for name, values in each.items() if name in accepted}
            for each in inputs
        ]

        def call(given: dict[str, torch.Tensor]) -> None:
            with torch.inference_mode():
                model(**{name: onto(value, device) for name, value in given.items()}, **more)
            wait_for(device)

        return [lambda given=given: call(given) for given in tensors]  # type: ignore[misc]

    return Network(calls, saved)


def _saved_bytes(model: Any) -> int:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights"
        torch.save(model.state_dict(), file)
        return file.stat().st_size


def _ignored(answer: object) -> None:
    del answer
