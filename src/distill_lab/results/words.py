"""What a comparison says in sentences, below its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from distill_lab.results.compare import Comparison
from distill_lab.results.figures import level, number_of
from distill_lab.results.gains import ALIKE, FEW, MCNEMAR, Gain
from distill_lab.results.inference import LEVEL
from distill_lab.results.published import Figure


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
    tied = len(comparison.tied)
    told = f"; the first {tied} students are equal there, and their order means nothing"
    return (
        f"the selection split ({chosen} held back of train) has chosen the epoch, orders the"
        " students and is what to choose settings by; the evaluation split is only reported"
        + (told if tied > 1 else "")
    )


def _tests(comparison: Comparison) -> list[str]:
    gains = [line.gain for line in comparison.students if line.gain is not None]
    said = []
    tested = [gain for gain in gains if gain.adjusted is not None]
    if tested:
        names = " or ".join(dict.fromkeys(gain.test for gain in tested))
        many = f", corrected by Holm for {len(tested)} cells" if len(tested) > 1 else ""
        said.append(
            f"[ ]: 95 % interval of the gain, each by itself; p: {names}, for {comparison.metric}"
            f"{many}; a verdict needs p <= {LEVEL}"
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
        few = [gain.differing for gain in tested if gain.rough]
        if few:
            said.append(
                f"rough: fewer than {FEW} rows tell student and baseline apart in {len(few)} of"
                f" {len(tested)} cells (the least: {min(filter(None, few))})"
            )
        if any(gain.alike for gain in tested):
            said.append(f"no interval: {ALIKE}")
    reasons = Counter(gain.why_not for gain in gains if gain.adjusted is None)
    for why, count in reasons.items():
        said.append(f"not tested ({count} of {len(gains)}): {why}")
    return said


def figures_text(published: Sequence[Figure]) -> list[str]:
    """Return published figures as lines, those of one model and source together."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for figure in published:
        key = figure.study, figure.model, figure.source
        task = f"{figure.task} " if figure.task else ""
        grouped.setdefault(key, []).append(f"{task}{figure.metric} {figure.value}")
    return [
        f"published, {study}: {model}: {', '.join(values)} ({source})"
        for (study, model, source), values in grouped.items()
    ]


def in_words(metric: str, gain: Gain) -> str:
    """Return what one run's gain is worth, in one sentence.

    Args:
        metric: The main metric.
        gain: Tested, or with the reason why it is not.
    """
    if gain.alike:
        return f"gain in {metric}: {gain.mean:+.4f}; {ALIKE}"
    if gain.p is None or gain.low is None or gain.high is None:
        return (
            f"gain in {metric}: {gain.mean:+.4f}; whether it is more than chance is not tested:"
            f" {gain.why_not}"
        )
    said = {
        "better": "the student is better than the baseline",
        "worse": "the student is worse than the baseline",
        "no evidence": "no evidence that student and baseline differ",
    }[gain.verdict]
    return (
        f"gain in {metric}: {gain.mean:+.4f}, 95 % interval {gain.low:+.4f} to {gain.high:+.4f},"
        f" p = {level(gain.p)} ({gain.test}): {said}; one seed, so the interval covers the rows"
        f" alone{_rough(gain)}"
    ).replace("= <", "< ")


def _rough(gain: Gain) -> str:
    return f"; they differ on {number_of(gain.differing or 0, 'row')}" if gain.rough else ""


def fidelity_in_words(told: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return how a run's student stands to its teacher, and how far certainty can be trusted.

    Args:
        told: `Result.fidelity`.
    """
    student, said = told.get("student", {}), list[str]()
    if "agreement" in student:
        text = f"the student answers {student['agreement']:.1%} of the rows like the teacher"
        if "divergence" in student:
            text += f" (divergence {student['divergence']:.4f} nats)"
        teacher, own = (int(student[f"only_{who}_right"]) for who in ("teacher", "model"))
        rows = f"{teacher:,} row{'s' * (teacher != 1)}"
        said.append(f"{text}; {rows} only the teacher has right, {own:,} only the student")
    if "rmse_to_teacher" in student:
        said.append(
            f"the student's answers are {student['rmse_to_teacher']:.4f} (rmse) off the teacher's"
        )
    errors = [
        (name, one["calibration_error"]) for name, one in told.items() if "calibration_error" in one
    ]
    if errors:
        each = ", ".join(f"{name} {value:.4f}" for name, value in errors)
        said.append(f"calibration error: {each}")
    return said
