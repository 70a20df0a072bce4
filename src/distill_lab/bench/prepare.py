"""A model looked at before it is measured: sizes, operations, what it reads, its ONNX files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

from distill_lab.bench.flops import flops
from distill_lab.bench.networks import Spec
from distill_lab.bench.passes import Arrays, Passes
from distill_lab.bench.subjects import Subject
from distill_lab.bench.texts import Texts
from distill_lab.disk import saving
from distill_lab.errors import DataError, ModelError, UsageError
from distill_lab.models import (
    agree_on_padding,
    count_parameters,
    load_model,
    load_tokenizer,
    weight_files,
)
from distill_lab.new_models import longest_input
from distill_lab.types import Problem

log = logging.getLogger(__name__)
_HEADLESS = Problem("classification", ("0", "1"))


@dataclass(frozen=True)
class Prepared:
    """A model that can be measured.

    Attributes:
        subject: Which.
        problem: What it answers.
        parameters: Numbers that it has learned.
        flops: Of a row of median length; None where torch cannot count them.
        weights: Bytes of its weights' files.
        pad: Its tokeniser's padding.
        passes: What it reads.
        file: Where that is written.
        onnx: For ONNX forms the folder, or why there is none.
        notes: What is to be said of it.
    """

    subject: Subject
    problem: Problem
    parameters: int
    flops: int | None
    weights: int
    pad: int | None
    passes: Passes
    file: Path
    onnx: dict[str, Path | UsageError]
    notes: tuple[str, ...]

    def spec(self, form: str, device: str, threads: int) -> Spec:
        """Return what a measuring process is told.

        Raises:
            UsageError: If the model cannot be had in this form.
        """
        path = self.onnx.get(form, self.subject.path)
        if isinstance(path, UsageError):
            raise path
        if form.startswith("onnx") and device != "cpu":
            raise DataError("ONNX is measured on the CPU alone; take --device cpu")
        problem = asdict(self.problem)
        return Spec(str(path), problem, self.pad, form, device, threads, str(self.file))

    def size_bytes(self, form: str) -> int:
        """Return what the weights' files of a form take on disk; int8 is not a file here."""
        folder = self.onnx.get(form)
        if isinstance(folder, Path):
            return sum(file.stat().st_size for file in folder.glob("model.onnx*"))
        return self.weights


def prepare(
    subject: Subject, texts: Texts, forms: Sequence[str], batch_size: int, work: Path
) -> Prepared:
    """Load a model, look at it, and write what its measuring processes need.

    Args:
        subject: Which.
        texts: What is read.
        forms: In which forms it will be measured.
        batch_size: Rows of a batch, at most.
        work: Folder for its files; made here.

    Raises:
        UsageError: If it cannot be loaded, or cannot read the rows.
    """
    work.mkdir(parents=True)
    problem = subject.problem or texts.problem or _HEADLESS
    notes = (
        [] if subject.problem else [f"it has no head; measured with a new one for {_asks(problem)}"]
    )
    if texts.problem is not None and texts.problem.reads != problem.reads:
        raise DataError(f"it reads {problem.reads}, {texts.name} is {texts.problem.reads}")
    model = load_model(subject.path, problem, subject.name).eval().requires_grad_(False)
    tokenizer = _tokenizer(subject) if problem.reads == "text" else None
    agree_on_padding(model, tokenizer)
    passes = texts.read_by(model.config, tokenizer, batch_size)
    longest = longest_input(model.config, passes.longest)
    if longest is not None and passes.longest > longest:
        raise DataError(f"it takes at most {longest} tokens, {texts.name} has {passes.longest}")
    with saving(work, "TMPDIR"):
        file = work / "passes.safetensors"
        passes.save(file)
        onnx = _exported(model, problem, tokenizer, forms, work)
    return Prepared(
        subject,
        problem,
        count_parameters(model),
        _counted(model, passes.median),
        _weights(subject),
        None if tokenizer is None else tokenizer.pad_token_id,
        passes,
        file,
        onnx,
        tuple(notes),
    )


def _exported(
    model: PreTrainedModel,
    problem: Problem,
    tokenizer: PreTrainedTokenizerBase | None,
    forms: Sequence[str],
    work: Path,
) -> dict[str, Path | UsageError]:
    """Write the ONNX forms that are asked for."""
    made: dict[str, Path | UsageError] = {}
    if not any(form.startswith("onnx") for form in forms):
        return made
    from distill_lab.export.formats import to_onnx_int8
    from distill_lab.export.graph import inputs_of, write_graph
    from distill_lab.serving.onnx_model import FILE

    names = [] if tokenizer is None else tokenizer.model_input_names
    whole, small = work / "onnx", work / "onnx-int8"
    try:
        model.config.save_pretrained(whole)  # tells which weights are to stay float
        write_graph(model, problem, inputs_of(model, problem, names), whole / FILE)
        made["onnx"] = whole
    except ModelError as error:
        return {"onnx": error, "onnx-int8": error}
    if "onnx-int8" in forms:
        try:
            to_onnx_int8(whole, small)
            made["onnx-int8"] = small
        except ModelError as error:
            made["onnx-int8"] = error
    return made


def _tokenizer(subject: Subject) -> PreTrainedTokenizerBase | None:
    """Return a model's tokeniser; None where it has none."""
    try:
        return load_tokenizer(subject.path, subject.name)
    except ModelError:
        return None


def _counted(model: PreTrainedModel, inputs: Arrays) -> int | None:
    try:
        return flops(model, inputs)
    except Exception as error:  # of a model that does not bear to be watched
        log.warning("bench: operations of %s cannot be counted: %s", type(model).__name__, error)
        return None


def _weights(subject: Subject) -> int:
    """Return the bytes of the weights' files that are loaded: safetensors where they are there."""
    folder = Path(subject.path)
    if not folder.is_dir():
        folder = Path(str(cached_file(subject.path, "config.json"))).parent
    files = weight_files(folder, subject.name)
    safe = [file for file in files if file.suffix == ".safetensors"]
    return sum(file.stat().st_size for file in safe or files)


def _asks(problem: Problem) -> str:
    return f"{problem.num_labels} {'words' if problem.words else 'labels'}"
