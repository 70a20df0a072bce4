"""`distill-lab store`."""

from __future__ import annotations

import argparse
from pathlib import Path

_ACTIONS = {
    "ls": "list the entries with size and age",
    "verify": "hold the entries against their checksums; exit code 1 if one is damaged",
    "rm": "delete entries; what is needed again is made again",
}


def main(rest: list[str]) -> int:
    """Read the arguments and do it.

    Args:
        rest: What followed the verb.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="distill-lab store", description="What the store keeps, so that it is computed once."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in _ACTIONS.items():
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
