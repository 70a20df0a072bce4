"""What the page says before it shows anything: how many runs, which rows, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from distill_lab.results.compare import Comparison, Line
from distill_lab.results.figures import number_of
from distill_lab.results.gains import ALIKE
from distill_lab.results.report.figure import Entry, Grid
from distill_lab.results.report.study import Study, gained, named, score, seeds, short
from distill_lab.results.tables import millions, spread

_NO_GAIN = "It has no baseline, so nothing is known of what the teacher adds."
_VERDICTS = {
    "better": "this is better than the baseline",
    "worse": "this is worse than the baseline",
    "no evidence": "this is no evidence that the teacher helps or harms",
}


def facts(study: Study) -> dict[str, str]:
    """Return what the head of the page lists, by name."""
    results, collected = study.results, study.collected
    distinct = {
        "Task": [c.task for c in study.comparisons],
        "Teacher": [c.teacher for c in study.comparisons],
        "Student": [c.student for c in study.comparisons],
    }
    told = {name: ", ".join(dict.fromkeys(v for v in values if v)) for name, values in
            distinct.items()}  # fmt: skip
    runs = [f"{len(results)} finished"]
    counts = {"failed": len(collected.failed), "unfinished": len(collected.unfinished)}
    counts |= {"damaged": len(collected.damaged), "pruned by a search": collected.pruned}
    counts |= {"repeated": collected.repeated}
    runs += [f"{count} {what}" for what, count in counts.items() if count]
    told["Runs"] = ", ".join(runs)
    told["Seeds"] = ", ".join(map(str, sorted({run.seed for run in results})))
    if study.when:
        first, last = (when.strftime("%Y-%m-%d") for when in study.when)
        told["Finished"] = first if first == last else f"{first} to {last}"
    told["Report"] = day(study.now)
    return {name: value for name, value in told.items() if value}


def day(when: datetime) -> str:
    """Return day and time as people read them."""
    return when.strftime("%Y-%m-%d %H:%M")


def summary(comparison: Comparison) -> list[str]:
    """Return a comparison in sentences: which setting is chosen, by which rows, and its verdict."""
    rows, students = comparison.rows, comparison.students
    best = students[0]
    kept = f", {best.retention:.1%} of the teacher's" if best.retention is not None else ""
    report, by_selection = score(best), best.selection is not None
    which = "which chose nothing" if by_selection or len(students) == 1 else (
        "which also put it first, so that this is too good by some luck"
    )  # fmt: skip
    told = (
        f"On the evaluation split ({rows.get('evaluation', 0):,} rows, {which}) its"
        f" {comparison.metric} is {spread(report.mean, report.sd)} ({seeds(best)}){kept}."
    )
    chosen = _chosen(comparison, best)
    return [chosen, told, _gain(best), *_others(comparison)]


def _chosen(comparison: Comparison, best: Line) -> str:
    """Return which setting is first, and by which rows."""
    count, metric = len(comparison.students), comparison.metric
    if best.selection is None:
        first = f"Of {count} settings {named(best)} is first." if count > 1 else "One setting."
        return f"{first} None was scored on the selection split."
    held = f"{comparison.rows.get('selection', 0):,} training rows held back"
    if count == 1:
        return f"One setting: {metric} {best.selection:.4f} on the selection split ({held})."
    value = f"({held}, {metric} {best.selection:.4f})"
    tied = len(comparison.tied)
    if tied > 1:
        return (
            f"Of {count} settings {tied} are equal on the selection split {value}. {named(best)} is"
            " one of them and shown below; nothing but the order of the runs puts it first."
        )
    return f"Of {count} settings {named(best)} is first on the selection split {value}."


def _gain(line: Line) -> str:
    gain = line.gain
    if gain is None:
        return _NO_GAIN
    if gain.alike:
        return f"Its gain over the baseline is {gain.mean:+.4f}: {ALIKE}."
    if gain.low is None or gain.high is None:
        why = f" ({gain.why_not})" if gain.why_not else ""
        return f"Its gain over the baseline is {gain.mean:+.4f}, which is not tested{why}."
    one = " One seed tells nothing of the seeds: the interval is that of the rows alone." if (
        gain.seeds == 1
    ) else ""  # fmt: skip
    rough = f" They differ on {number_of(gain.differing or 0, 'row')}." if gain.rough else ""
    return (
        f"Its gain over the baseline of the same seeds is {gain.mean:+.4f}, 95 % interval"
        f" {gain.low:+.4f} to {gain.high:+.4f}: {_VERDICTS[gain.verdict]}.{one}{rough}"
    )


def _others(comparison: Comparison) -> list[str]:
    tested = comparison.tested
    if len(tested) < 2:
        return []
    count = {v: sum(gain.verdict == v for gain in tested) for v in ("better", "worse")}
    return [
        f"Of the {len(tested)} settings that were tested, {count['better'] or 'none'} came out"
        f" better than the baseline and {count['worse'] or 'none'} worse after Holm's correction."
    ]


def left_out(study: Study) -> list[tuple[str, Sequence[str]]]:
    """Return what is not compared: a heading, and a line for each folder."""
    collected = study.collected
    found: list[tuple[str, Sequence[str]]] = []
    if collected.failed:
        lines = [f"{folder.name}: {why}" for folder, why in collected.failed.items()]
        found.append((f"Failed: {len(lines)}", lines))
    if collected.unfinished:
        names = [folder.name for folder in collected.unfinished]
        found.append((f"Not finished: {len(names)}", names))
    if collected.damaged:
        found.append((f"Cannot be read: {len(collected.damaged)}", collected.damaged))
    if collected.pruned:
        found.append((f"Pruned by a search: {collected.pruned}", []))
    if collected.repeated:
        said = f"Of the settings and the seed of another, counted once: {collected.repeated}"
        found.append((said, []))
    return found


def table(comparison: Comparison) -> Grid:
    """Return the comparison table: teacher, baselines and students, the best first."""
    metrics = comparison.metrics
    headings = ["model", *(short(key) for key in comparison.keys), "seeds", "selection", *metrics]
    headings += ["gain, 95 % interval", "verdict", "retention", "parameters"]
    rows = [_row(comparison, line) for line in comparison.lines]
    words = {0, *range(1, len(comparison.keys) + 1), len(headings) - 3}
    caption = (
        "Mean ± standard deviation over seeds on the evaluation split. Gain: student less baseline"
        f" of the same seeds in {comparison.metric}; the verdict is that of a paired test after"
        " Holm's correction over the settings. Selection: the same metric on the rows that chose"
        " the epoch; it orders the students, and is what to choose a setting by."
    )
    return Grid(caption, headings, rows, frozenset(words))


def _row(comparison: Comparison, line: Line) -> list[Entry]:
    of_metric = [
        (spread(line.metrics[m].mean, line.metrics[m].sd), line.metrics[m].mean)
        if m in line.metrics
        else ""
        for m in comparison.metrics
    ]
    gain = line.gain
    return [
        line.model,
        *(line.label.get(key, "") for key in comparison.keys),
        str(len(line.seeds)) if line.seeds else "",
        "" if line.selection is None else f"{line.selection:.4f}",
        *of_metric,
        (gained(line), gain.mean) if gain else "",
        gain.verdict if gain else "",
        "" if line.retention is None else f"{line.retention:.1%}",
        (millions(line.parameters), line.parameters),
    ]
