"""Slow references for objectives on hidden states and attention, in Python's own floats.

Written from the papers, element by element, without a look at the implementations. A tensor is a
nested list; `mask[b][i]` tells whether token i of row b is no padding.
"""

from __future__ import annotations

import itertools
import math
from statistics import mean
from typing import Any

from tests.objectives.references import kl, softmax

Nested = Any


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _norm(a: list[float]) -> float:
    return math.sqrt(_dot(a, a))


def _tokens(mask: Nested) -> list[tuple[int, int]]:
    return [(b, i) for b, row in enumerate(mask) for i, real in enumerate(row) if real]


def hidden(s: Nested, t: Nested, mask: Nested, distance: str) -> float:
    total = 0.0
    for b, i in _tokens(mask):
        x, y = s["hidden"][b][i], t["hidden"][b][i]
        if distance == "mse":
            total += mean((p - q) ** 2 for p, q in zip(x, y, strict=True))
        else:
            total += 1 - _dot(x, y) / (_norm(x) * _norm(y))
    return total


def patient(s: Nested, t: Nested, mask: Nested) -> float:
    total = 0.0
    for b in range(len(mask)):
        x, y = s["hidden"][b][0], t["hidden"][b][0]
        total += mean((p / _norm(x) - q / _norm(y)) ** 2 for p, q in zip(x, y, strict=True))
    return total


def _rows(left: Nested, right: Nested, mask: Nested) -> Nested:
    """Scaled products of each token with the row's tokens: `found[head, b, i] = list over j`."""
    found = {}
    for b, i in _tokens(mask):
        for head in range(len(left[b])):
            width = len(left[b][head][i])
            found[head, b, i] = [
                _dot(left[b][head][i], right[b][head][j]) / math.sqrt(width)
                for c, j in _tokens(mask)
                if c == b
            ]
    return found


def _relation(s: Nested, t: Nested, left: str, right: str, mask: Nested) -> float:
    ours, theirs = _rows(s[left], s[right], mask), _rows(t[left], t[right], mask)
    heads = len(s[left][0])
    return sum(kl(softmax(theirs[key]), softmax(ours[key])) for key in ours) / heads


def attention_kl(s: Nested, t: Nested, mask: Nested) -> float:
    return _relation(s, t, "queries", "keys", mask)


def attention_mse(s: Nested, t: Nested, mask: Nested) -> float:
    ours, theirs = (_rows(x["queries"], x["keys"], mask) for x in (s, t))
    heads = len(s["queries"][0])
    pairs = [zip(softmax(ours[key]), softmax(theirs[key]), strict=True) for key in ours]
    return sum((p - q) ** 2 for row in pairs for p, q in row) / heads


def scores_mse(s: Nested, t: Nested, mask: Nested) -> float:
    ours, theirs = (_rows(x["queries"], x["keys"], mask) for x in (s, t))
    heads = len(s["queries"][0])
    pairs = [zip(ours[key], theirs[key], strict=True) for key in ours]
    return sum((p - q) ** 2 for row in pairs for p, q in row) / heads


def values_kl(s: Nested, t: Nested, mask: Nested) -> float:
    return _relation(s, t, "values", "values", mask)


def _divided(x: Nested, relation_heads: int) -> Nested:
    """Heads side by side, then cut into as many equal parts as there are relation heads."""
    found = []
    for row in x:
        joined = [list(itertools.chain(*(head[i] for head in row))) for i in range(len(row[0]))]
        width = len(joined[0]) // relation_heads
        found.append(
            [[v[r * width : (r + 1) * width] for v in joined] for r in range(relation_heads)]
        )
    return found


def redivided(s: Nested, t: Nested, mask: Nested, part: str, relation_heads: int) -> float:
    ours, theirs = ({part: _divided(x[part], relation_heads)} for x in (s, t))
    return _relation(ours, theirs, part, part, mask)


def _pooled(x: Nested, mask: Nested) -> list[list[float]]:
    rows = []
    for b, row in enumerate(mask):
        real = [x["hidden"][b][i] for i, token in enumerate(row) if token]
        rows.append([mean(column) for column in zip(*real, strict=True)])
    return rows


def _huber(a: float, b: float) -> float:
    d = abs(a - b)
    return d * d / 2 if d <= 1 else d - 0.5


def distances(s: Nested, t: Nested, mask: Nested) -> float:
    sides = []
    for rows in (_pooled(s, mask), _pooled(t, mask)):
        pairs = list(itertools.permutations(range(len(rows)), 2))
        d = [_norm([x - y for x, y in zip(rows[i], rows[j], strict=True)]) for i, j in pairs]
        sides.append([value / mean(d) for value in d])
    return sum(_huber(a, b) for a, b in zip(*sides, strict=True))


def angles(s: Nested, t: Nested, mask: Nested) -> float:
    sides = []
    for rows in (_pooled(s, mask), _pooled(t, mask)):
        cosines = []
        for i, j, k in itertools.permutations(range(len(rows)), 3):
            a = [x - y for x, y in zip(rows[i], rows[j], strict=True)]
            b = [x - y for x, y in zip(rows[k], rows[j], strict=True)]
            cosines.append(_dot(a, b) / (_norm(a) * _norm(b)))
        sides.append(cosines)
    return mean(_huber(a, b) for a, b in zip(*sides, strict=True))
