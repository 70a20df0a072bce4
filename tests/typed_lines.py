"""The command lines that the pages show, and what it takes to hold each against the program."""

from __future__ import annotations

import argparse
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep

from distill_lab.config import GROUPS, conf_dir
from distill_lab.hydra_entry import compose
from distill_lab.train_help import choices

_FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(distill-lab [^`\n]+)`")
_SHORTENED = ("…", "...")


def typed_lines(text: str) -> list[str]:
    """Return what a page tells to type: lines of blocks, and inline ones that are whole."""
    blocks = _FENCE.findall(text)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = _INLINE.findall(_FENCE.sub("", text))
    found = [*lines, *(one for one in inline if len(one.split()) > 2)]
    said = [
        line.strip().removeprefix("$ ") for line in found if not any(s in line for s in _SHORTENED)
    ]
    return [line for line in said if line.startswith("distill-lab ")]


def hold(line: str) -> None:
    """Hold a line against the program: compose what `train` would, parse what other verbs take.

    Raises:
        UsageError: If `train` would refuse it.
        SystemExit: If another verb would.
    """
    program, verb, *rest = shlex.split(line, comments=True)
    assert program == "distill-lab"
    if verb == "train":
        for overrides in jobs(rest):
            _compose(overrides)
    elif verb not in ("--version", "--help"):
        _parse(verb, rest)


def jobs(typed: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Return what the jobs of a line compose; each choice, each end of an axis is in one of them.

    A choice of a group is tried without the axes below it, which only some of its choices have.
    """
    given = get_args_parser().parse_args([a for a in typed if a not in ("--help", "-h")])
    if given.config_dir or any(a in ("--help", "-h") for a in typed):
        return  # a folder of the reader's own: test_contributing and test_search try these lines
    if [o for o in given.overrides if o.startswith("resume=")]:
        return  # a run of the reader's own: see test_resume
    parsed = OverridesParser.create().parse_overrides(given.overrides)
    fixed = [o.input_line for o in parsed if not o.is_sweep_override()]
    axes = [_values(o) for o in parsed if o.is_sweep_override()]
    assert given.multirun or not axes, "several values want -m"
    for axis in axes:
        for value in axis:
            others = [other[0] for other in axes if other is not axis and not _depends(axis, other)]
            yield tuple(sorted((*fixed, *others, value)))
    if not axes:
        yield tuple(sorted(fixed))


def _depends(axis: list[str], other: list[str]) -> bool:
    """Whether the choices of an axis need not have the key of another."""
    return other[0].startswith(axis[0].partition("=")[0] + ".")


def _values(override: Override) -> list[str]:
    """Return a sweep's choices, each as it would be typed, or the ends of an axis of numbers."""
    value, key = override.value(), override.key_or_group
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    if isinstance(value, Glob):
        return [f"{key}={name}" for name in value.filter(choices(conf_dir() / key))]
    assert isinstance(value, (ChoiceSweep, RangeSweep))
    texts = [f"{key}={text}" for text in itertools.islice(override.sweep_string_iterator(), 100)]
    return texts if key in GROUPS else [texts[0], texts[-1]]


@cache
def _compose(overrides: tuple[str, ...]) -> None:
    compose(*overrides)


class _Parsed(Exception):
    """A verb has understood what was typed."""


def _parse(verb: str, rest: list[str]) -> None:
    original = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *given: object) -> None:
        original(self, *given)  # type: ignore[call-overload]
        raise _Parsed

    argparse.ArgumentParser.parse_args = parse  # type: ignore[assignment,method-assign]
    try:
        import_module(f"distill_lab.verbs.{verb}").main(rest)
    except _Parsed:
        return
    finally:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]
    raise AssertionError(f"{verb} parses nothing")


def pages(root: Path) -> list[Path]:
    """Return the pages of the site."""
    folders = ("docs", "experiments", "benchmarks")
    inner = [path for folder in folders for path in sorted((root / folder).rglob("*.md"))]
    return [root / "README.md", root / "CONTRIBUTING.md", *inner]
