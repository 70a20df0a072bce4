"""`distill-lab export`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_FORMS = {
    "onnx": "float32, for onnxruntime",
    "onnx-int8": "8-bit weights, for onnxruntime",
    "int8": "8-bit weights, for torch with torchao",
    "safetensors": "weights of another precision (--dtype)",
}
_DTYPES = ("float16", "bfloat16", "float32")


def main(rest: list[str]) -> int:
    """Read the arguments and export.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    given = _parser().parse_args(rest)
    _check(given)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.path.append(os.getcwd())  # where a user's own task lies, named by its `_target_`
    from distill_lab.export.exporting import Order, export
    from distill_lab.export.shown import show
    from distill_lab.quiet import quiet_libraries

    quiet_libraries()
    order = Order(
        given.to, given.output, given.dtype or "float16", given.rows, given.unchecked,
        given.max_difference, given.min_agreement,
    )  # fmt: skip
    folder, parity = export(given.run, order)
    show(folder, given.run, order, parity)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="distill-lab export",
        description="Write the student of a finished run in the form in which it is served, with"
        " its tokeniser and the lines that run it. Both forms answer the evaluation split first:"
        " one that differs by more than its bounds is an error, and no folder is left.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    told = "; ".join(f"{name}: {text}" for name, text in _FORMS.items())
    parser.add_argument("--to", choices=tuple(_FORMS), required=True, help=told)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where; else RUN/export/FORMAT"
    )
    parser.add_argument("--dtype", choices=_DTYPES, help="for safetensors; else float16")
    parser.add_argument(
        "--rows", type=Path, metavar="FILE",
        help="check on these rows instead, as predict reads them; they need no labels",
    )  # fmt: skip
    parser.add_argument("--unchecked", action="store_true", help="check nothing, and say so")
    parser.add_argument(
        "--max-difference", type=float, metavar="X",
        help="bound of the largest difference of two logits; else 0.001 for onnx, 2 for int8,"
        " 0.05 for float16, 0.5 for bfloat16, 0.00001 for float32",
    )  # fmt: skip
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE",
        help="bound of the share of same answers, of numbers of their correlation; else 0.999 for"
        " onnx, 0.95 for int8, 0.99 for float16, 0.97 for bfloat16, 1 for float32",
    )  # fmt: skip
    return parser


def _check(given: argparse.Namespace) -> None:
    from distill_lab.errors import UsageError
    from distill_lab.results.run_folder import check_run

    if given.dtype and given.to != "safetensors":
        raise UsageError(f"--dtype {given.dtype}: it goes with --to safetensors")
    if given.rows and given.unchecked:
        raise UsageError("--rows, --unchecked: one asks for a check, the other for none")
    if given.max_difference is not None and not given.max_difference >= 0:
        raise UsageError(f"--max-difference {given.max_difference}: 0 or more")
    if given.min_agreement is not None and not 0 <= given.min_agreement <= 1:
        raise UsageError(f"--min-agreement {given.min_agreement}: a share, from 0 to 1")
    check_run(given.run)
