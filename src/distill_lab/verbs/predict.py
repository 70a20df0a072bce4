"""`distill-lab predict`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_LINES = ".txt"  # the ending of files with a text on each line


def main(rest: list[str]) -> int:
    """Read the arguments and answer.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    parser = _parser()
    given = parser.parse_args(rest)
    _check(given)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.path.append(os.getcwd())  # where a user's own task lies, named by its `_target_`
    from distill_lab.quiet import quiet_libraries

    quiet_libraries()
    try:
        _answer(given)
    except BrokenPipeError:  # who read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="distill-lab predict",
        description="Ask the student of a finished run, or an exported folder. Without texts and"
        " without --file, lines of standard input are answered as they come: the answer, of classes"
        " its probability, and the line, with tabs between them; of tasks on pairs, a tab stands"
        " between both texts.",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a run, or what export has made of it"
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts, or paths of pictures")
    parser.add_argument(
        "--file", type=Path, metavar="IN", help="rows: .csv, .tsv, .jsonl, .parquet, SQuAD's .json"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT",
        help="where the rows go with their answers, in the same format; else to the terminal",
    )  # fmt: skip
    parser.add_argument("--text", metavar="COLUMN", help="column of the text; else the task's")
    parser.add_argument("--pair", metavar="COLUMN", help="column of the second text, likewise")
    parser.add_argument(
        "--probabilities", action="store_true", help="the probability of every label"
    )
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="rows at once")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; else what there is")
    parser.add_argument(
        "--new-tokens", type=int, metavar="N", help="tokens at which a continuation is cut"
    )
    parser.add_argument(
        "--model", choices=("student", "teacher"), default="student", help="whose answers"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="OUT",
        help="write what GLUE's or SQuAD's server takes, from the official test file",
    )  # fmt: skip
    return parser


def _check(given: argparse.Namespace) -> None:
    """Refuse, before anything slow is loaded, what cannot be answered."""
    from distill_lab.errors import UsageError
    from distill_lab.results.run_folder import check_run

    if given.texts and (given.file or given.submission):
        raise UsageError("predict: give texts, --file or --submission, one of them")
    if given.output and not given.file:
        raise UsageError(f"-o {given.output}: it goes with --file; lines go to standard output")
    if given.output and given.submission:
        raise UsageError(f"-o {given.output}: --submission names where it writes; leave out one")
    if (given.text or given.pair) and not given.file:
        raise UsageError("--text, --pair: they name columns of a --file; name the file")
    for name in ("batch_size", "new_tokens"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: at least 1 is needed")
    if not (given.run.is_dir() or given.texts or given.file):
        raise UsageError(
            f"{given.run}: there is no such run; its folder comes first, as in distill-lab predict"
            " RUN TEXT"
        )
    check_run(given.run)
    _check_files(given)


def _check_files(given: argparse.Namespace) -> None:
    """Refuse a file that is missing or of no rows, and one that is named as a text."""
    from distill_lab.errors import UsageError
    from distill_lab.row_files import ENDINGS, check_row_file

    lines = f"distill-lab predict {given.run} < "
    for text in given.texts:
        ending = os.path.splitext(text)[1]
        if ending in (*ENDINGS, _LINES) and os.path.isfile(text):
            how = f"--file {text}" if ending in ENDINGS else f"{lines}{text}"
            raise UsageError(f"{text}: a file, of which the name would be answered; type {how}")
    if given.file and not given.submission:
        text = f"; a text on each line is read by {lines}{given.file}"
        check_row_file(given.file, text if given.file.suffix == _LINES else "")


def _answer(given: argparse.Namespace) -> None:
    from distill_lab.serving import predicting
    from distill_lab.serving.asking import Options, device_named
    from distill_lab.serving.served import open_run

    if given.file and not given.submission:
        predicting.check_out(given.file, given.output)
    device = device_named(given.device)
    served = open_run(given.run, given.model)
    options = Options(given.batch_size, device, given.probabilities, given.new_tokens)
    if given.submission:
        from distill_lab.serving.submission import submit

        for line in submit(served, given.file, given.submission, options):
            print(f"distill-lab: {line}", file=sys.stderr)
    elif given.file:
        chosen = predicting.Chosen(given.text, given.pair)
        predicting.of_file(served, given.file, given.output, chosen, options)
        if given.output:
            print(f"kept in {given.output}", file=sys.stderr)
    elif given.texts:
        for line in predicting.of_texts(served, given.texts, options):
            print(line)
        sys.stdout.flush()
    else:
        if sys.stdin.isatty():
            print("distill-lab: type lines; Ctrl-D ends", file=sys.stderr)
        for line in predicting.of_stream(served, sys.stdin.buffer, options):
            print(line, flush=True)
