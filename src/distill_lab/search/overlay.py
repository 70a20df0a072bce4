"""The best settings as an overlay that `distill-lab train` takes by `experiments=`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType

from distill_lab.config import GROUPS
from distill_lab.signatures import Node


class Overlay:
    """An overlay made of overrides.

    Args:
        lines: Overrides of a run.
        study: Name of the study that a run with the overlay belongs to.
        flags: What else is typed to find the same configuration, such as a search path.
    """

    def __init__(self, lines: Iterable[str], study: str, flags: Sequence[str]) -> None:
        parser = OverridesParser.create()
        self._below: list[Any] = []
        self._defaults: list[Any] = []
        self._values: Node = {}
        self._rest = list(flags)
        for override in parser.parse_overrides(list(lines)):
            self._take(override)
        self._values["study"] = study

    def _take(self, override: Override) -> None:
        key, value = override.key_or_group, override.value()
        if override.type is OverrideType.DEL or override.package is not None:
            self._rest.append(str(override.input_line))
        elif key == "experiments":
            self._below.append(value)  # a name of the same folder, which experiments= leaves alone
        elif key in GROUPS and (isinstance(value, str) or _names(value)):
            self._defaults.append({f"override /{key}": value})
        else:
            _put(self._values, key.split("."), value)

    def text(self, about: str, folder: Path, name: str) -> str:
        """Return the content of the file.

        Args:
            about: What it is the best of.
            folder: The search's.
            name: Of the file, without `.yaml`.
        """
        content = {"defaults": [*self._below, "_self_", *self._defaults], **self._values}
        body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
        head = ["# @package _global_", f"# {about}. Use:", f"#   {self.command(folder, name)}"]
        return "\n".join(head) + "\n" + body

    def command(self, folder: Path, name: str) -> str:
        """Return the line that uses the file."""
        return shlex.join(
            [
                "distill-lab",
                "train",
                "--config-dir",
                str(folder),
                f"experiments={name}",
                *self._rest,
            ]
        )


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _put(node: Node, path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            child = node[key] = {}
        node = child
    node[path[-1]] = value
