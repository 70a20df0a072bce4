"""Slow references: each objective's formula in Python's own floats, row by row.

Written from the papers, without a look at the implementations; nothing here uses torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

Row = Sequence[float]
Rows = Sequence[Row]
Labels = Sequence[int]
Terms = dict[str, float]


def softmax(row: Row, temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kl(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def pearson(x: Row, y: Row) -> float:
    dx, dy = [a - mean(x) for a in x], [b - mean(y) for b in y]
    top = sum(a * b for a, b in zip(dx, dy, strict=True))
    return top / math.sqrt(sum(a * a for a in dx) * sum(b * b for b in dy))


def hinton(s: Rows, t: Rows, labels: Labels, temperature: float) -> Terms:
    pairs = zip(s, t, strict=True)
    return {"soft": mean(kl(softmax(b, temperature), softmax(a, temperature)) for a, b in pairs)}


def mse_logits(s: Rows, t: Rows, labels: Labels) -> Terms:
    def one(a: Row, b: Row) -> float:
        return mean(((x - mean(a)) - (y - mean(b))) ** 2 for x, y in zip(a, b, strict=True))

    return {"soft": mean(one(a, b) for a, b in zip(s, t, strict=True))}


def dkd(s: Rows, t: Rows, labels: Labels, temperature: float) -> Terms:
    target, others = [], []
    for a, b, y in zip(s, t, labels, strict=True):
        q, p = softmax(a, temperature), softmax(b, temperature)
        target.append(kl([p[y], 1 - p[y]], [q[y], 1 - q[y]]))
        # among the other classes: a softmax without the target
        rest = [i for i in range(len(a)) if i != y]
        q_rest = softmax([a[i] for i in rest], temperature)
        p_rest = softmax([b[i] for i in rest], temperature)
        others.append(kl(p_rest, q_rest))
    return {"target": mean(target), "others": mean(others)}


def dist(s: Rows, t: Rows, labels: Labels, temperature: float) -> Terms:
    q, p = ([softmax(row, temperature) for row in side] for side in (s, t))
    inter = mean(1 - pearson(a, b) for a, b in zip(q, p, strict=True))
    columns = range(len(s[0]))
    intra = mean(1 - pearson([r[c] for r in q], [r[c] for r in p]) for c in columns)
    return {"inter": inter, "intra": intra}


def logit_standardized(s: Rows, t: Rows, labels: Labels, temperature: float) -> Terms:
    def standard(row: Row) -> list[float]:
        return [(x - mean(row)) / stdev(row) for x in row]

    return hinton([standard(r) for r in s], [standard(r) for r in t], labels, temperature)


def reverse_kl(s: Rows, t: Rows, labels: Labels, temperature: float) -> Terms:
    return hinton(t, s, labels, temperature)


def jsd(s: Rows, t: Rows, labels: Labels, temperature: float, beta: float) -> Terms:
    values = []
    for a, b in zip(s, t, strict=True):
        q, p = softmax(a, temperature), softmax(b, temperature)
        m = [beta * x + (1 - beta) * y for x, y in zip(p, q, strict=True)]
        values.append(beta * kl(p, m) + (1 - beta) * kl(q, m))
    return {"soft": mean(values)}


def skew_kl(
    s: Rows,
    t: Rows,
    labels: Labels,
    temperature: float,
    alpha: float,
    direction: str,
) -> Terms:
    values = []
    for a, b in zip(s, t, strict=True):
        q, p = softmax(a, temperature), softmax(b, temperature)
        first, second = (p, q) if direction == "forward" else (q, p)
        m = [alpha * x + (1 - alpha) * y for x, y in zip(first, second, strict=True)]
        values.append(kl(first, m))
    return {"soft": mean(values)}
