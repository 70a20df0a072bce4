"""Configuration nodes held against the signatures of what they name; nothing is built."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from distill_lab.errors import did_you_mean
from distill_lab.trusted import distrust, distrust_object
from distill_lab.values import mismatch

Node = dict[str, Any]
_SHOWN = 20  # parameters that are told; Lightning's Trainer has 40
# What `run` passes itself when it builds a node of the group; a yaml may not give it.
_PASSED = {
    "trainer": {"callbacks", "logger", "default_root_dir", "use_distributed_sampler"},
    "logger": {"save_dir"},
}


def faults_of(path: str, node: Node) -> list[str]:
    """Hold one node against the signature of its `_target_`.

    Args:
        path: Where the node stands, for the faults.
        node: Plain data with `_target_`.
    """
    target = str(node["_target_"])
    refused = distrust(target)
    if refused:
        return [f"{path}._target_: {refused}"]
    try:
        function = locate(target)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        return [f"{path}._target_: {target!r} cannot be imported ({error})"]
    refused = distrust_object(target, function)
    if refused:
        return [f"{path}._target_: {refused}"]
    passed = _PASSED.get(path.split(".")[0], set())
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in passed
    }
    given = {key: value for key, value in node.items() if not _is_directive(key)}
    absent = [] if node.get("_partial_") else _absent(path, target, given, parameters)
    return [
        *_unknown(path, target, given, parameters),
        *absent,
        *_mistyped(path, function, given, parameters),
    ]


def _is_directive(key: str) -> bool:
    return key.startswith("_") and key.endswith("_")


def locate(target: str) -> Any:
    """Import the object that a dotted name stands for.

    Raises:
        ImportError: If no part of the name is a module.
        AttributeError: If the module lacks the name.
    """
    module_name, _, name = str(target).rpartition(".")
    return getattr(importlib.import_module(module_name), name)


_Parameters = Mapping[str, inspect.Parameter]


def _unknown(path: str, target: str, given: Node, parameters: _Parameters) -> list[str]:
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return []
    takes = f" (it takes {', '.join(parameters)})" if 0 < len(parameters) <= _SHOWN else ""
    return [
        f"{path}.{key}: not a parameter of {target}{did_you_mean(key, parameters) or takes}"
        for key in given
        if key not in parameters
    ]


def _absent(path: str, target: str, given: Node, parameters: _Parameters) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        f"{path}.{name}: {target} needs it and no value is given"
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in variadic
        and name not in given
    ]


def _mistyped(path: str, function: Any, given: Node, parameters: _Parameters) -> Iterator[str]:
    hints = _hints(function)
    for key, value in given.items():
        if key in parameters and key in hints and not _builds(value):
            expected = mismatch(value, hints[key])
            if expected:
                yield f"{path}.{key}: {value!r} is not {expected}"


def _builds(value: Any) -> bool:
    """Whether something will be built of what a value holds, so that it is no plain value yet."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(_builds(child) for child in value.values())
    return isinstance(value, list) and any(_builds(child) for child in value)


def _hints(function: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:  # a library's annotations may name what is not installed
        return {}
