"""Values of a configuration: by dotted key, and against the annotations of what takes them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted key.

    Args:
        node: Plain data.
        path: Key that comes before all others.
    """
    if not isinstance(node, Mapping):
        return {path: node}
    found: dict[str, Any] = {}
    for key, child in node.items():
        found |= leaves(child, f"{path}.{key}" if path else str(key))
    return found


def unfit(node: Any, path: str = "") -> dict[str, str]:
    """Return what no file can hold or name, by dotted key, and why: numbers that are none, bytes.

    Args:
        node: Plain data.
        path: Key that comes before all others.
    """
    if isinstance(node, Mapping):
        children = [(f"{path}.{key}" if path else str(key), child) for key, child in node.items()]
    elif isinstance(node, list):
        children = [(f"{path}[{place}]", child) for place, child in enumerate(node)]
    else:
        why = _unfit(node)
        return {path: why} if why else {}
    found: dict[str, str] = {}
    for key, child in children:
        found |= unfit(child, key)
    return found


def _unfit(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is finite is needed"
    if isinstance(value, str) and "\0" in value:
        return "a text cannot hold a null character"
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return "the text is not UTF-8"
    return ""


def mismatch(value: Any, hint: Any) -> str:
    """Hold a value against a type annotation.

    Args:
        value: Plain data, as read from a configuration.
        hint: Annotation of the parameter that takes it.

    Returns:
        What was expected, in words; an empty string when the value fits.
    """
    from pydantic import ValidationError
    from pydantic.errors import PydanticUserError

    try:
        _adapter(hint).validate_python(value)
    except ValidationError:
        return _in_words(hint)
    except PydanticUserError:
        return ""
    return ""


@lru_cache(maxsize=1024)
def _adapter(hint: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True))


def _in_words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    words[type(None)] = "null"
    options = [_in_words(arg) for arg in get_args(hint)] if _is_union(hint) else []
    if options:
        return " or ".join(dict.fromkeys(options))
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    kind = get_origin(hint) or hint
    if hint not in words and inspect.isclass(kind):
        if issubclass(kind, Mapping):
            return "names with values"
        if issubclass(kind, Sequence):
            return "a list"
    return words.get(hint, str(hint).replace("typing.", ""))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)
