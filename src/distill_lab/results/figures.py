"""Numbers as people write them."""

from __future__ import annotations


def millions(count: float) -> str:
    """Return a number of parameters as people write it: 22.7 M."""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,.0f}"


def number_of(count: int, one: str, several: str = "") -> str:
    """Return how many there are of something: 1 run, 2 runs.

    Args:
        count: How many.
        one: What it is called.
        several: What several are called, where that is more than an s.
    """
    return f"1 {one}" if count == 1 else f"{count} {several or one + 's'}"


def spread(mean: float, sd: float | None) -> str:
    """Return mean ± standard deviation; the mean alone for a single value."""
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}"


def level(p: float) -> str:
    """Return a p-value with as many digits as tell something."""
    return "<0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"
