"""What a comparison says in sentences, below its table."""

from __future__ import annotations

from collections import Counter

from distill_lab.results.compare import Comparison
from distill_lab.results.inference import LEVEL
from distill_lab.results.paired import MCNEMAR

NOT_TESTED = "not tested"


def notes(comparison: Comparison) -> list[str]:
    """Return how a comparison is to be read: splits, tests, what is not tested and why."""
    said = [_splits(comparison)]
    if any(spread.sd is not None for line in comparison.lines for spread in line.metrics.values()):
        said.append("mean ± standard deviation over seeds")
    if any(line.gain for line in comparison.students):
        said.append(
            "gain: student - baseline of the same seed, above 0 where the student is better"
        )
    said += _tests(comparison)
    if comparison.apart:
        said.append(f"not to be compared with the first table: {', '.join(comparison.apart)}")
    return said


def _splits(comparison: Comparison) -> str:
    rows = comparison.rows
    chosen = f"{rows['selection']:,} rows" if "selection" in rows else "rows"
    if all(line.selection is None for line in comparison.students):
        return (
            "no run was scored on the selection split: the order is that of the evaluation split,"
            " so what stands first was chosen by the rows that are reported"
        )
    return (
        f"the selection split ({chosen} held back of train) has chosen the epoch, orders the"
        " students and is what to choose settings by; the evaluation split is only reported"
    )


def _tests(comparison: Comparison) -> list[str]:
    gains = [line.gain for line in comparison.students if line.gain is not None]
    said = []
    tested = [gain for gain in gains if gain.adjusted is not None]
    if tested:
        names = " or ".join(dict.fromkeys(gain.test for gain in tested))
        said.append(
            f"[ ]: 95 % interval of the gain; p: {names}, for {comparison.metric}, corrected by"
            f" Holm for {len(tested)} {'cell' if len(tested) == 1 else 'cells'}; a verdict needs"
            f" p <= {LEVEL}"
        )
        if any(gain.seeds == 1 for gain in tested):
            said.append(
                "one seed: no interval over seeds; the interval covers the rows alone, and another"
                " seed may give another gain"
            )
        if any(gain.seeds == 2 for gain in tested):
            said.append("two seeds tell little of how seeds differ, so their intervals are wide")
        if any(gain.test == MCNEMAR for gain in tested):
            said.append("McNemar's p is exact, the interval beside it a bootstrap's")
    reasons = Counter(gain.why_not for gain in gains if gain.adjusted is None)
    for why, count in reasons.items():
        said.append(f"not tested ({count} of {len(gains)}): {why}")
    return said
