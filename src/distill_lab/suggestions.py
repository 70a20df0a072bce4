"""What was probably meant by a key that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from distill_lab.config import GROUPS, conf_dir, schema
from distill_lab.errors import ALSO_CALLED, closest, did_you_mean

_MODELS = ("teacher", "student")
_GLOBAL = "# @package _global_"


def key_hint(key: str) -> str:
    """Return "; did you mean ...?" for a key of the root that is not there, or an empty string.

    Args:
        key: As typed, such as `max_epochs`, which is one of the group `trainer`.
    """
    own = did_you_mean(key, [str(name) for name in schema()])
    if own or "." in key:
        return own
    inner = {name: name.partition(".")[2] for name in _keys_of_groups()}
    words = {key, ALSO_CALLED.get(key)} & set(inner.values()) or {closest(key, inner.values())}
    meant = [f"'{name}'" for name, word in inner.items() if word in words]
    return f"; did you mean {' or '.join(meant[:2])}?" if meant else ""


def choice_hint(group: str, choice: str, options: Iterable[str]) -> str:
    """Return what was probably meant by a choice that is not there, and which there are."""
    known = list(options)
    close = did_you_mean(choice, known)
    model = f"; a model is named by {group}.model={choice}" if group in _MODELS else ""
    return f"{close or model} (there are {', '.join(known) or 'none'})"


def _keys_of_groups() -> Iterator[str]:
    """Give the keys that the shipped choices of all groups name, `GROUP.KEY`."""
    for group in GROUPS:
        for file in sorted((conf_dir() / group).rglob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            node = yaml.safe_load(text) or {}
            if text.startswith(_GLOBAL):
                node = node.get(group, {})
            yield from (f"{group}.{k}" for k in node if k != "defaults" and not k.startswith("_"))
