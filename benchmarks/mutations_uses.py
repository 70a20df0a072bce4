"""What each shipped objective can reach in the source of the objectives."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import yaml

from benchmarks.mutations_find import PACKAGE


def concerns(folder: Path, configs: Path) -> dict[str, set[str]]:
    """Return for each shipped objective the functions and classes that it can reach.

    Args:
        folder: With the source of the objectives.
        configs: With their yaml files; the parts that a default list names count too.
    """
    uses: dict[str, set[str]] = {}
    for path in folder.glob("*.py"):
        uses |= _uses(path)
    return {path.stem: _reached(_targets(path), uses) for path in sorted(configs.glob("*.yaml"))}


def has(config: Path, key: str) -> bool:
    """Whether an objective's yaml sets a key itself."""
    return key in _read(config)


def _read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config


def _targets(path: Path) -> set[str]:
    """Return the class of a yaml, and those of its parts."""
    config = _read(path)
    parts = [path.with_name(f"{part.split('@')[0]}.yaml") for part in config.get("defaults", [])]
    return {config["_target_"]}.union(*map(_targets, parts))


def _uses(path: Path) -> dict[str, set[str]]:
    """Return for each function and class of a module the full names that its body mentions."""
    module = f"{PACKAGE}.{path.stem}"
    body = ast.parse(path.read_text(encoding="utf-8")).body
    own = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    full = {node.name: f"{module}.{node.name}" for node in own}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            full |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return {
        full[node.name]: {
            full[name.id]
            for name in ast.walk(node)
            if isinstance(name, ast.Name) and name.id in full
        }
        for node in own
    }


def _reached(targets: set[str], uses: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in found and name in uses:
            found.add(name)
            waiting += uses[name]
    return found
