"""The command line; the one place that reads Hydra's state."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from importlib import import_module

from distill_lab import __version__
from distill_lab.errors import JobsFailed, UsageError, did_you_mean
from distill_lab.quiet import quiet_torchao

_HELP = f"""distill-lab {__version__}: from a teacher, a student and a task to a comparison

  distill-lab train [KEY=VALUE ...]       fine-tune or find the teacher, distil the student, train
                                          or find the baseline, compare; without arguments, the
                                          embedded demonstration
  distill-lab train -m KEY=V1,V2 ...      a sweep: every combination, one folder a job
  distill-lab compare RUN_OR_STUDY ...    finished runs side by side, mean and spread over seeds
  distill-lab report STUDY -o PAGE.html   one page: heat map, curves, Pareto front, rows
  distill-lab bench RUN_OR_MODEL ...      what serving costs: latency, throughput, size, memory
  distill-lab export RUN --to FORMAT      ONNX, int8, safetensors, held against the student
  distill-lab predict RUN [TEXT ...]      answers for texts, files or standard input
  distill-lab store ls|verify|rm          what is kept of teachers, signals and
                                          baselines, with sizes and ages

  distill-lab VERB --help                 more about a verb
  distill-lab --version                   the version
"""
_VERBS = ("compare", "report", "bench", "export", "predict", "store")  # modules of `verbs`


def main() -> None:
    """Run the verb that was typed; errors of use end with one sentence and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # what an old terminal has no letter for
        sys.stdout.reconfigure(errors="backslashreplace")
    quiet_torchao()
    verb, rest = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if verb in ("--help", "-h", "help"):
        print(_HELP, end="")
    elif verb == "--version":
        print(__version__)
    elif verb == "train":
        sys.exit(_guarded(_train, rest))
    elif verb in _VERBS:
        sys.exit(_guarded(import_module(f"distill_lab.verbs.{verb}").main, rest))
    else:
        print(f"distill-lab: {_no_verb(verb)}", file=sys.stderr)
        sys.exit(UsageError.code)


def _no_verb(word: str) -> str:
    known = ("train", *_VERBS)
    if "=" in word:
        return f"{word}: the verb comes first, as in distill-lab train {word}"
    close = did_you_mean(word, known)
    return f"no such verb: {word}{close}" + ("" if close else f" (there are {', '.join(known)})")


def _guarded(verb: Callable[[list[str]], int], rest: list[str]) -> int:
    try:
        return verb(rest)
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"distill-lab: {line}", file=sys.stderr)
        return error.code
    except JobsFailed as error:
        print(f"distill-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("distill-lab: interrupted; the same line goes on", file=sys.stderr)
        return 130


def _train(rest: list[str]) -> int:
    from distill_lab.hydra_entry import train

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.path.append(os.getcwd())  # where a user's own objective lies, named by its `_target_`
    return train(rest)
