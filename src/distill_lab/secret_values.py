"""Secrets, which no configuration may hold: a run's folder keeps it, and reports show it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_lab.errors import ConfigError
from distill_lab.values import leaves

_VARIABLES = ("WANDB_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
_NAMES = (
    r"(?:\w*_)?(?:api_?key|password|passwd|secret)|(?:\w*(?:hf|hub|auth|access|api|wandb)_)?token"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)
_INSIDE = re.compile(rf"[{{,]\s*['\"]?({_NAMES})['\"]?\s*:", re.IGNORECASE)  # of a typed mapping
_LOOKS = re.compile(r"\bhf_[A-Za-z0-9]{30,}|\bwandb_v\d+_\w{20,}")
_SHORTEST = 8  # letters; a shorter value of a variable is none that a text must not contain


def refuse_typed(arguments: Sequence[str]) -> None:
    """Refuse secrets on the command line, before anything is written.

    Args:
        arguments: Overrides and flags.

    Raises:
        ConfigError: If there is one; names its key, not its value.
    """
    told = list[str]()
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        inside = _INSIDE.search(value)
        if _holds(argument) or (value not in ("", "null") and (_is_secret(key, value) or inside)):
            told.append(f"{key}.{inside[1]}" if inside else "an argument" if _holds(key) else key)
    if told:
        raise ConfigError([_sentence(key) for key in told])


def secrets_in(node: Mapping[str, Any]) -> list[str]:
    """Return what is said of each secret in a configuration.

    Args:
        node: Plain data.
    """
    found = leaves(node).items()
    return [_sentence(key) for key, value in found if value is not None and _is_secret(key, value)]


def refuse_kept(nodes: Iterable[Mapping[str, Any]], kept: Path) -> None:
    """Refuse secrets of composed configurations, and delete what is kept of them.

    Args:
        nodes: Plain data.
        kept: Hydra's copy, or the folder of several.

    Raises:
        ConfigError: If there is one.
    """
    told = dict.fromkeys(sentence for node in nodes for sentence in secrets_in(node))
    if not told:
        return
    if kept.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
    else:
        kept.unlink(missing_ok=True)
    raise ConfigError(told)


def _is_secret(key: str, value: Any) -> bool:
    named = _NAME.fullmatch(key.rpartition(".")[2]) is not None
    return (named and isinstance(value, str) and value != "") or _holds(key) or _holds(str(value))


def _holds(text: str) -> bool:
    known = (os.environ.get(name, "") for name in _VARIABLES)
    return _LOOKS.search(text) is not None or any(
        len(secret) >= _SHORTEST and secret in text for secret in known
    )


def _sentence(key: str) -> str:
    return (
        f"{key}: this looks like a secret, and a run's folder keeps its configuration; put it into"
        " the environment (WANDB_API_KEY, HF_TOKEN) or log in with `wandb login`, `hf auth login`"
    )
