"""What was probably meant by a key that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

import yaml

from distill_lab.config import GROUPS, Launch, conf_dir, schema
from distill_lab.errors import ALSO_A_GROUP, ALSO_CALLED, closest, did_you_mean

_MODELS = ("teacher", "student")
_GLOBAL = "# @package _global_"


def key_hint(key: str) -> str:
    """Return "; did you mean ...?" for a key that is not there, or an empty string.

    Args:
        key: As typed, such as `max_epochs`, which is one of the group `trainer`; or `optimizer.lr`.
    """
    group, dot, inner = key.partition(".")
    roots = [str(name) for name in schema()]
    known = closest(ALSO_A_GROUP.get(group, group) if dot else group, roots)
    if dot and not known:
        return ""
    own = [name for name in _keys() if name.startswith(f"{known}.")] if known else []
    if dot:
        names = [name.partition(".")[2] for name in own]
        named = f"{known}.{closest(inner, names) or inner}"
        there = named in own or known != group  # else the key that was typed would be proposed
        return f"; did you mean '{named}'?" if there else _listed(known, names)
    return f"; did you mean '{known}'?" if known else _anywhere(key)


def _anywhere(word: str) -> str:
    """Return which keys of groups a word without its group may mean."""
    inner = {name: name.partition(".")[2] for name in _keys()}
    words = {word, ALSO_CALLED.get(word)} & set(inner.values()) or {closest(word, inner.values())}
    meant = [f"'{name}'" for name, own in inner.items() if own in words]
    return f"; did you mean {' or '.join(meant[:2])}?" if meant else ""


def _listed(group: str, names: list[str]) -> str:
    return f" ({group} has {', '.join(names)})" if names else ""


def choice_hint(group: str, choice: str, options: Iterable[str]) -> str:
    """Return what was probably meant by a choice that is not there, and which there are."""
    known = list(options)
    close = did_you_mean(choice, known)
    model = f"; a model is named by {group}.model={choice}" if group in _MODELS else ""
    return f"{close or model} (there are {', '.join(known) or 'none'})"


def _keys() -> Iterator[str]:
    """Give the keys that the shipped choices of all groups name, `GROUP.KEY`, and of `launch`."""
    for group in GROUPS:
        for file in sorted((conf_dir() / group).rglob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            node = yaml.safe_load(text) or {}
            if text.startswith(_GLOBAL):
                node = node.get(group, {})
            yield from (f"{group}.{k}" for k in node if k != "defaults" and not k.startswith("_"))
    yield from (f"launch.{item.name}" for item in fields(Launch))
