"""`distill-lab export`: a folder that is declared good once it answers as the student does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from distill_lab.disk import saving
from distill_lab.errors import DataError, ModelError
from distill_lab.export.formats import FORMATS, to_onnx, to_onnx_int8, write_int8, write_safetensors
from distill_lab.export.parity import BOUNDS, Bounds, Parity, compared
from distill_lab.export.readme import readme
from distill_lab.folders import temporary
from distill_lab.results.result import FILE as RESULT
from distill_lab.results.run_folder import ORIGIN, is_exported
from distill_lab.serving.served import Served, open_run, with_problem
from distill_lab.serving.unlabelled import rows_of_file
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.tokens import tokenizer_fingerprint

PARITY = "parity.json"


@dataclass(frozen=True)
class Order:
    """What is to be exported, and how it is checked.

    Attributes:
        form: One of `formats.FORMATS`.
        out: The folder; None for `export/FORM` in the run's own.
        dtype: Of the weights, for safetensors.
        rows: A file whose rows are answered in place of the evaluation split.
        unchecked: Whether no rows are answered at all.
        max_difference: In place of the form's own bound.
        min_agreement: Likewise.
    """

    form: str
    out: Path | None = None
    dtype: str = "float16"
    rows: Path | None = None
    unchecked: bool = False
    max_difference: float | None = None
    min_agreement: float | None = None

    @property
    def bounds(self) -> Bounds:
        """How far the form may differ."""
        own = BOUNDS[self.dtype if self.form == "safetensors" else self.form]
        return Bounds(
            own.difference if self.max_difference is None else self.max_difference,
            own.agreement if self.min_agreement is None else self.min_agreement,
        )


def export(run: Path, order: Order) -> tuple[Path, Parity | None]:
    """Export the student of a run.

    Args:
        run: The run's folder.
        order: What is made.

    Returns:
        The folder, and how it compares with the student; None where that was not to be checked.

    Raises:
        UsageError: If the run, its rows or the folder cannot be used, the model cannot be exported,
            or the form differs by more than the bounds; nothing is left under the folder's name.
    """
    assert order.form in FORMATS
    if is_exported(run):
        raise DataError(f"{run}: it is an exported folder; export the run itself")
    served = open_run(run)
    target = order.out or run / "export" / order.form
    _check_target(target)
    with _rows(served, order) as rows, saving(target.parent, "--output"):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(target)
        work.mkdir()
        try:
            _write(served, order, work)
            parity = None if rows is None else _checked(served, work, *rows, order, target)
            _tell(served, order, work, parity)
            _put(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target, parity


def _check_target(target: Path) -> None:
    """Refuse a folder that holds something else than an earlier export."""
    if target.exists() and not is_exported(target):
        if target.is_dir() and not any(target.iterdir()):
            return
        raise DataError(
            f"--output {target}: it is there and is no exported folder; name another, or delete it"
        )


@contextmanager
def _rows(served: Served, order: Order) -> Iterator[tuple[ModelRows, str, bool] | None]:
    """Give the rows that are answered, their name, and whether they can be scored."""
    if order.unchecked:
        yield None
        return
    if order.rows is not None:
        yield rows_of_file(served, order.rows), str(order.rows), False
        return
    remedy = "give others by --rows FILE, or take --unchecked"
    try:
        context = served.rows()
        data = context.__enter__()
    except (DataError, OSError) as error:
        raise DataError(
            f"{served.folder}: the rows on which the form would be checked cannot be read"
            f" ({error}); {remedy}"
        ) from error
    try:
        name, rows = next(iter(data.evaluation.items()))
        known = served.result.fingerprints.get(name)
        if data.fingerprints[name] != known:
            raise DataError(
                f"{served.folder}: the rows of the {name} split are not those that the run had;"
                f" {remedy}"
            )
        yield rows, f"{name} split", True
    finally:
        context.__exit__(None, None, None)


def _write(served: Served, order: Order, folder: Path) -> None:
    """Write the model in its form, its configuration and tokeniser, and the run's result."""
    if order.form == "onnx-int8":
        whole = folder / ".float"
        to_onnx(served, whole)
        to_onnx_int8(whole, folder)
        shutil.rmtree(whole)
    elif order.form == "safetensors":
        write_safetensors(served, folder, order.dtype)
    else:
        writers: dict[str, Callable[[Served, Path], None]] = {"onnx": to_onnx, "int8": write_int8}
        writers[order.form](served, folder)
    with_problem(served).write(folder)
    (folder / RESULT).rename(folder / ORIGIN)


def _checked(
    served: Served, folder: Path, rows: ModelRows, name: str, labelled: bool, order: Order,
    target: Path,
) -> Parity:  # fmt: skip
    """Return how the form compares with the student.

    Raises:
        ModelError: If it differs by more than the bounds, or reads text otherwise.
    """
    after = open_run(folder)
    if served.tokenizer is not None:
        assert after.tokenizer is not None
        if tokenizer_fingerprint(served.tokenizer) != tokenizer_fingerprint(after.tokenizer):
            raise ModelError(
                f"{target}: not written, for the tokeniser of {type(served.tokenizer).__name__}"
                " cannot be saved as it is; take another architecture"
            )
    parity = compared(served, after, rows, name, labelled, "int8" in order.form)
    faults = parity.faults(order.bounds)
    if faults:
        raise ModelError(
            f"{target}: not written, for on {parity.count:,} rows ({name}) the student's and the"
            f" {order.form} form's {', and '.join(faults)}; take another form, or widen the bound"
        )
    return parity


def _tell(served: Served, order: Order, folder: Path, parity: Parity | None) -> None:
    """Write README.md and parity.json."""
    content = {
        "form": order.form,
        "checked": parity is not None,
        "bounds": asdict(order.bounds),
        **({} if parity is None else asdict(parity)),
    }
    (folder / PARITY).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        readme(served, order.form, order.dtype, order.bounds, parity), encoding="utf-8"
    )


def _put(work: Path, target: Path) -> None:
    """Put a finished folder under its name, in place of an earlier one."""
    if not target.exists():
        work.rename(target)
        return
    aside = temporary(target)
    target.rename(aside)
    try:
        work.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(os.path.getsize(file) for file in folder.rglob("*") if file.is_file())
