"""Score over two settings as a heat map, over one as a line with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill_lab.better import sign
from distill_lab.results.compare import Line
from distill_lab.results.report.figure import (
    Figure,
    Grid,
    Spec,
    View,
    hover,
    layout,
    plain,
    share_range,
    titled,
)
from distill_lab.results.report.palette import colour, scale
from distill_lab.results.report.study import gained, metric_of, named, score, seeds, short
from distill_lab.results.tables import spread

_PREFERRED = ("objective.temperature", "objective.lam")
_SLICES = 12  # of further settings; more are not looked at one by one
_NARROW = 6  # columns for which half the page is enough
_FILLED = 0.3  # share of a map's places below which single points say more


@dataclass(frozen=True)
class _Shown:
    """What is shown of a setting: its score or its gain."""

    name: str
    of: Callable[[Line], float | None]
    text: Callable[[Line], str]
    colours: tuple[str, ...]


def map_of(settings: Sequence[Line]) -> Figure:
    """Return the scores over the two axes that vary most, T and λ before all others.

    Args:
        settings: Of one comparison.
    """
    keys = axes(settings)
    title = " and ".join(short(key) for key in keys) or "Settings"
    if not keys:
        told = "All runs have the same settings but for the seed, so there is no axis to draw over."
        return Figure("map", "Score by setting", about=[told])
    slices = _slices(settings, keys)
    views = [
        _view(name, part, keys, shown)
        for shown in _shown(settings)
        for name, part in list(slices.items())[:_SLICES]
    ]
    wide = len({setting.label.get(keys[0]) for setting in settings}) > _NARROW
    return Figure("map", f"Score over {title}", views, _about(settings, slices), wide=wide)


def axes(settings: Sequence[Line]) -> list[str]:
    """Return the keys of at most two axes: T and λ if they vary, else those of most values."""
    values: dict[str, set[str]] = defaultdict(set)
    for setting in settings:
        for key, value in setting.label.items():
            values[key].add(value)
    there = [key for key in values if len(values[key]) > 1]
    order = {key: place for place, key in enumerate(there)}
    there.sort(key=lambda key: (key not in _PREFERRED, -len(values[key]), order[key]))
    chosen = there[:2]
    return sorted(chosen, key=lambda key: _PREFERRED.index(key) if key in _PREFERRED else 2)


def in_order(values: Sequence[str]) -> list[str]:
    """Return distinct values, numbers by size, words as they come."""
    once = list(dict.fromkeys(values))
    try:
        return sorted(once, key=float)
    except ValueError:
        return once


def _shown(settings: Sequence[Line]) -> list[_Shown]:
    metric = metric_of(settings[0])
    heat = ("heat0", "heat1", "heat2", "heat3", "heat4")
    heat = heat if sign(metric) > 0 else heat[::-1]
    found = [
        _Shown(metric, lambda s: score(s).mean, lambda s: spread(score(s).mean, score(s).sd), heat)
    ]
    if any(setting.gain for setting in settings):
        colours = ("worse", "middle", "better")
        found.append(_Shown("gain over the baseline", _gain, gained, colours))
    return found


def _gain(setting: Line) -> float | None:
    return setting.gain.mean if setting.gain else None


def _slices(settings: Sequence[Line], keys: Sequence[str]) -> dict[str, list[Line]]:
    """Return the settings by the values of what is on no axis."""
    found: dict[str, list[Line]] = {}
    for setting in settings:
        rest = {key: value for key, value in setting.label.items() if key not in keys}
        name = ", ".join(f"{short(key)}={value}" for key, value in rest.items())
        found.setdefault(name, []).append(setting)
    return found


def _about(settings: Sequence[Line], slices: dict[str, list[Line]]) -> list[str]:
    told = [
        "Each place is the mean over seeds on the evaluation split; the gain is the student"
        " less the baseline of the same seed, with a 95 % interval."
    ]
    if any(len(setting.results) == 1 for setting in settings):
        told.append("A place with * has one seed: there is no interval, and luck is not seen.")
    if len(slices) > _SLICES:
        told.append(
            f"Other settings vary too, in {len(slices)} combinations; the first {_SLICES} in the"
            " order of the selection split can be chosen."
        )
    return told


def _view(slice_name: str, settings: Sequence[Line], keys: Sequence[str], shown: _Shown) -> View:
    name = f"{shown.name}, {slice_name}" if slice_name else shown.name
    known = [setting for setting in settings if all(key in setting.label for key in keys)]
    spec = (_line if len(keys) == 1 else _field)(known, keys, shown)
    best = settings[0]
    sentence = (
        f"{name} over {' and '.join(short(key) for key in keys)}, {len(known)} settings;"
        f" the first of the selection split, {named(best)}: {shown.text(best)}."
    )
    headings = [*(short(key) for key in keys), "seeds", shown.name]
    rows = [[*(s.label[key] for key in keys), str(len(s.results)), shown.text(s)] for s in known]
    return View(name, spec, sentence, Grid(name, headings, rows, frozenset()))


def _told(setting: Line) -> str:
    metric = f"{metric_of(setting)}: {spread(score(setting).mean, score(setting).sd)}"
    gain = setting.gain
    verdict = [gain.verdict] if gain else []
    lines = [named(setting), metric, f"gain: {gained(setting)}", *verdict, seeds(setting)]
    return hover(lines)


def _star(setting: Line) -> str:
    return "*" if len(setting.results) == 1 else ""


def _field(settings: Sequence[Line], keys: Sequence[str], shown: _Shown) -> Spec:
    """Return a heat map, or points where most places would be empty."""
    across, up = (in_order([s.label[key] for s in settings]) for key in keys)
    if len(settings) < _FILLED * len(across) * len(up):
        return _points(settings, keys, shown)
    at = {(s.label[keys[0]], s.label[keys[1]]): s for s in settings}
    rows = [[at.get((x, y)) for x in across] for y in up]
    many = len(across) > 12
    heat = {
        "type": "heatmap",
        "x": [plain(x) for x in across], "y": [plain(y) for y in up],
        "z": [[None if s is None else shown.of(s) for s in row] for row in rows],
        "text": [["" if s is None else _number(s, shown, many) for s in row] for row in rows],
        "hovertext": [["" if s is None else _told(s) for s in row] for row in rows],
        "texttemplate": "%{text}", "hoverinfo": "text", "hoverongaps": False,
        "xgap": 2, "ygap": 2, "colorscale": scale(*shown.colours),
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".3~f"},
    }  # fmt: skip
    if shown.colours[1] == "middle":
        heat["zmid"] = 0
    x = {**titled(short(keys[0])), "type": "category", "showgrid": False}
    y = {**titled(short(keys[1])), "type": "category", "showgrid": False}
    return {"data": [heat], "layout": layout(x, y)}


def _number(setting: Line, shown: _Shown, narrow: bool) -> str:
    value = shown.of(setting)
    if value is None:
        return ""
    form = "+.3f" if shown.colours[1] == "middle" else ".3f" if narrow else ".4f"
    return f"{value:{form}}{_star(setting)}"


def _points(settings: Sequence[Line], keys: Sequence[str], shown: _Shown) -> Spec:
    points = {
        "type": "scatter", "mode": "markers", "hoverinfo": "text",
        "x": [plain(s.label[keys[0]]) for s in settings],
        "y": [plain(s.label[keys[1]]) for s in settings],
        "hovertext": [_told(s) for s in settings],
        "marker": {
            "size": 11, "color": [shown.of(s) for s in settings],
            "colorscale": scale(*shown.colours), "showscale": True,
            "line": {"width": 1, "color": colour("muted")},
            "colorbar": {"thickness": 10, "outlinewidth": 0},
            **({"cmid": 0} if shown.colours[1] == "middle" else {}),
        },
    }  # fmt: skip
    return {"data": [points], "layout": layout(titled(short(keys[0])), titled(short(keys[1])))}


def _line(settings: Sequence[Line], keys: Sequence[str], shown: _Shown) -> Spec:
    """Return a line over one axis; bars are the 95 % interval of the gain, or ± sd of the score."""
    order = in_order([s.label[keys[0]] for s in settings])
    placed = sorted(settings, key=lambda s: order.index(s.label[keys[0]]))
    values = [shown.of(s) for s in placed]
    is_gain = shown.colours[1] == "middle"
    line = {
        "type": "scatter", "mode": "lines+markers", "hoverinfo": "text",
        "x": [plain(s.label[keys[0]]) for s in placed], "y": values,
        "hovertext": [_told(s) for s in placed],
        "line": {"color": colour("student"), "width": 2},
        "marker": {
            "color": colour("student"), "size": 9,
            "symbol": ["circle-open" if len(s.results) == 1 else "circle" for s in placed],
        },
        "error_y": {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 5,
            "array": [_above(s, is_gain) for s in placed],
            "arrayminus": [_below(s, is_gain) for s in placed],
            "color": colour("student"),
        },
    }  # fmt: skip
    x = {**titled(short(keys[0])), "type": "category"}
    y = titled(shown.name + (" (95 % interval)" if is_gain else " (± sd)"))
    y |= {} if is_gain else share_range([value for value in values if value is not None])
    lines = layout(x, {**y, "zeroline": is_gain, "zerolinecolor": colour("muted")})
    return {"data": [line], "layout": lines}


def _above(setting: Line, is_gain: bool) -> float:
    gain = setting.gain
    if not is_gain:
        return score(setting).sd or 0.0
    return gain.high - gain.mean if gain and gain.high is not None else 0.0


def _below(setting: Line, is_gain: bool) -> float:
    gain = setting.gain
    if not is_gain:
        return score(setting).sd or 0.0
    return gain.mean - gain.low if gain and gain.low is not None else 0.0
