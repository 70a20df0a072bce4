"""The command line; the one place that reads Hydra's state."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from distill_lab import __version__
from distill_lab.errors import JobsFailed, UsageError, did_you_mean

_HELP = f"""distill-lab {__version__}: from a teacher, a student and a task to a comparison

  distill-lab train [KEY=VALUE ...]       fine-tune or find the teacher, distil the student, train
                                          or find the baseline, compare; without arguments, the
                                          embedded demonstration
  distill-lab train -m KEY=V1,V2 ...      a sweep: every combination, one folder a job
  distill-lab compare RUN_OR_STUDY ...    finished runs side by side, mean and spread over seeds
  distill-lab store ls|verify|rm          what is kept of teachers, signals and
                                          baselines, with sizes and ages

  distill-lab VERB --help                 more about a verb
  distill-lab --version                   the version
"""


def main() -> None:
    """Run the verb that was typed; errors of use end with one sentence and exit code 2."""
    verb, rest = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    verbs = {"train": _train, "compare": _compare, "store": _store}
    if verb in ("--help", "-h", "help"):
        print(_HELP, end="")
    elif verb == "--version":
        print(__version__)
    elif verb in verbs:
        sys.exit(_guarded(verbs[verb], rest))
    else:
        print(f"distill-lab: no such verb: {verb}{did_you_mean(verb, verbs)}", file=sys.stderr)
        sys.exit(UsageError.code)


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
        print("distill-lab: interrupted; the same line starts again", file=sys.stderr)
        return 130


def _compare(rest: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(
        prog="distill-lab compare",
        description="Show finished runs side by side: mean and standard deviation over seeds,"
        " retention (student / teacher) and gain (student - baseline of the same seed).",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN_OR_STUDY", help="folder of a run or of a study"
    )
    from distill_lab.results.show import show_comparison

    show_comparison(parser.parse_args(rest).paths)
    return 0


def _store(rest: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(
        prog="distill-lab store", description="What the store keeps, so that it is computed once."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    texts = {
        "ls": "list the entries with size and age",
        "verify": "hold the entries against their checksums; exit code 1 if one is damaged",
        "rm": "delete entries; what is needed again is made again",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--store-dir", type=Path, default=Path("store"), metavar="FOLDER")
        if name == "rm":
            action.add_argument(
                "names", nargs="+", metavar="ENTRY", help="as ls shows it, a fingerprint, or a kind"
            )
    given = parser.parse_args(rest)
    from distill_lab import store_verbs

    if given.action == "verify":
        return 0 if store_verbs.verify(given.store_dir) else 1
    if given.action == "rm":
        store_verbs.remove(given.store_dir, given.names)
    else:
        store_verbs.show(given.store_dir)
    return 0


def _train(rest: list[str]) -> int:
    from distill_lab.hydra_entry import train

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.path.append(os.getcwd())  # where a user's own objective lies, named by its `_target_`
    return train(rest)
