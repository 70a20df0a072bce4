"""Colours of the page and of its pictures, by what they stand for, in light and dark.

Teacher, student and baseline have the same colour everywhere: the blue, vermilion and green of
Okabe and Ito (Color Universal Design, 2008), which people with any colour vision tell apart, moved
in lightness so that text in them can be read on either ground. A mark's shape says the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODELS = ("teacher", "student", "baseline")
SYMBOLS = {"teacher": "square", "student": "circle", "baseline": "triangle-up"}
DASHES = {"teacher": "dash", "student": "solid", "baseline": "dot"}
CURVES = ("student", "curve1", "curve2", "curve3", "curve4", "curve5")
"""Of cells in the order of the selection split."""

LIGHT = {
    "page": "#f7f7f5", "panel": "#ffffff", "ink": "#1c2024", "muted": "#5c6670",
    "line": "#dcdfe3", "grid": "#e9ebee", "faint": "#b4bac1", "accent": "#0a5c94",
    "teacher": "#0072b2", "student": "#cc5200", "baseline": "#00805d",
    "curve1": "#6f4aa8", "curve2": "#9a7200", "curve3": "#2b7f95", "curve4": "#a83a6b",
    "curve5": "#5f6b3a",
    "heat0": "#fdf6ef", "heat1": "#fbd7b5", "heat2": "#f2a066", "heat3": "#cc5200",
    "heat4": "#702900",
    "worse": "#3f78b5", "middle": "#f5f5f3", "better": "#cc5200",
}  # fmt: skip
DARK = {
    "page": "#14171a", "panel": "#1b1f23", "ink": "#e6e8ea", "muted": "#a0a8b1",
    "line": "#333a41", "grid": "#2a3036", "faint": "#5b646d", "accent": "#6cb8ee",
    "teacher": "#56b4e9", "student": "#f28c42", "baseline": "#35c298",
    "curve1": "#b498e8", "curve2": "#d9b44a", "curve3": "#6cc5d9", "curve4": "#e88bb4",
    "curve5": "#b2bf85",
    "heat0": "#221c18", "heat1": "#55301a", "heat2": "#974f1c", "heat3": "#e07e35",
    "heat4": "#ffd9b5",
    "worse": "#4f97d9", "middle": "#24292e", "better": "#f28c42",
}  # fmt: skip
_PREFIX = "palette:"


def colour(name: str) -> str:
    """Return what stands for a colour in a figure, whatever the theme."""
    assert name in LIGHT
    return _PREFIX + name


def scale(*names: str) -> list[list[Any]]:
    """Return a scale of evenly spaced colours, as plotly reads it."""
    return [[place / (len(names) - 1), colour(name)] for place, name in enumerate(names)]


def coloured(node: Any, theme: Mapping[str, str]) -> Any:
    """Return a figure with the colours of a theme; `figures.js` does the same in the page."""
    if isinstance(node, dict):
        return {key: coloured(value, theme) for key, value in node.items()}
    if isinstance(node, list):
        return [coloured(value, theme) for value in node]
    if isinstance(node, str) and node.startswith(_PREFIX):
        return theme.get(node.removeprefix(_PREFIX), node)
    return node


def variables(theme: Mapping[str, str]) -> str:
    """Return the colours as custom properties of CSS."""
    return " ".join(f"--{name}: {value};" for name, value in theme.items())
