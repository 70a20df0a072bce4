"""Whether the tests notice when T², a mask or the teacher's detach is deleted from an objective.

Every deletion that `mutations_find.py` finds in the source of the objectives is made, one at a
time, and the tests of `tests/objectives` that train nothing are run on the result. They must fail
by an assertion. A single `masked_fill` may be redundant beside another mask, a `detach` beside a
function without a gradient to the teacher: they are excused where the tests pass and values and
gradients of all their cases, the teacher's too, are the same to the last bit. The exit code is 1 if
a mutant survives, or if an objective has no teacher to detach (attention is compared by a function
that computes the student's gradient alone, and has none) or, with a temperature, no T². It
takes a core for ten minutes; fork is needed, so not on Windows.

    python -m benchmarks.mutations --markdown benchmarks/mutations.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import Progress

from benchmarks.mutations_find import KINDS, Mutant, left_out, mutants
from benchmarks.mutations_run import ROOT, SOURCES, Verdict, apart, judged, tests, warm
from benchmarks.mutations_uses import concerns, has
from benchmarks.page import Lines, as_markdown, as_rich, setting
from distill_lab.results.show import console

CONFIGS = ROOT / "conf/objective"
Judged = list[tuple[Mutant, Verdict]]
MUTANTS = ["#", "mutant", "change", "outcome", "first test that fails"]
OBJECTIVES = ["objective", *KINDS]
# Computes its gradient in closed form, for the student alone: there is no `detach` to delete.
CLOSED = "distill_lab.objectives.pairwise.compared"


def found() -> tuple[list[Mutant], list[str]]:
    """Return all mutants, and the calls of `detach` that hold no teacher."""
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.py"))}
    every = [mutant for name, text in files.items() for mutant in mutants(text, name)]
    return every, [line for name, text in files.items() for line in left_out(text, name)]


def gaps(every: list[Mutant]) -> list[str]:
    """Return a line for each objective that lacks a mutant it must have."""
    lines = []
    for objective, reached in concerns(SOURCES, CONFIGS).items():
        kinds = {mutant.kind for mutant in every if mutant.owner in reached}
        if "detach" not in kinds and CLOSED not in reached and asks(objective):
            lines.append(f"{objective}: no detach of the teacher was found")
        if has(CONFIGS / f"{objective}.yaml", "temperature") and "t2" not in kinds:
            lines.append(f"{objective}: it has a temperature, but no T² was found")
    return lines


def asks(objective: str) -> bool:
    """Return whether an objective is given the teacher's answers at all."""
    return "Needs(signals=False)" not in (SOURCES / f"{objective}.py").read_text(encoding="utf-8")


def mutant_lines(judged: Judged) -> Lines:
    """Return the table of mutants."""
    return [
        [str(i), mutant.name, mutant.change, verdict.outcome, verdict.by]
        for i, (mutant, verdict) in enumerate(judged, 1)
    ]


def objective_lines(judged: Judged) -> Lines:
    """Return the table of objectives: the numbers of the mutants that concern each."""
    lines = []
    for objective, reached in concerns(SOURCES, CONFIGS).items():
        cells = []
        for kind in KINDS:
            own = [
                f"{i}{'' if verdict.outcome == 'killed' else ' ' + verdict.outcome}"
                for i, (mutant, verdict) in enumerate(judged, 1)
                if mutant.kind == kind and mutant.owner in reached
            ]
            cells.append(", ".join(own) or "-")
        lines.append([objective, *cells])
    return lines


def page(summary: str, tables: list[tuple[str, list[str], Lines]], left: list[str]) -> str:
    """Return the page that lies beside the script."""
    parts = ["# What the tests of the objectives notice\n"]
    parts.append(f"Made by `python -m benchmarks.mutations`. {setting()}.\n\n{summary}\n")
    parts.append(EXPLANATION)
    for title, head, lines in tables:
        parts += [f"## {title}\n", as_markdown(head, lines)]
    parts.append("## Left out: calls of `detach` that hold no teacher\n")
    parts.append("".join(f"- `{line}`\n" for line in left))
    return "\n".join(parts)


EXPLANATION = """\
Each mutant is one edit: `t2` deletes the factor T², `detach` lets gradients reach the teacher,
`mask` lets all padding of a function count, `mask argument` does so from the objective's call,
`one fill` and `one mask` delete a single mask, `class fill` one that leaves out a class, `unit`
divides by the rows instead of what counts. *Killed* means that a test fails by an assertion.
*Redundant*: another mask, or a function that has no gradient to the teacher, settles the same; the
tests pass without this one, and all values and gradients of their cases, the teacher's too, stay to
the last bit. The second table says by number which mutants
concern an objective, through its own source and all that it calls; "-" where its formula has no
such thing. Attention is compared by `pairwise.compared`, which computes the student's gradient in
closed form and none of the teacher's: no `detach` there.
"""


def judge(every: list[Mutant], limit: float) -> Judged:
    """Run the tests on each mutant; none runs before another has ended."""
    judgements = []
    with Progress(auto_refresh=False, transient=True) as progress:
        task = progress.add_task("mutants", total=len(every))
        for mutant in every:
            progress.update(task, description=mutant.name, refresh=True)
            judgements.append((mutant, judged(mutant, limit)))
            progress.advance(task)
    return judgements


def report(judgements: Judged, count: int, left: list[str]) -> str:
    """Print both tables; return the page that holds them.

    Args:
        judgements: What the tests say.
        count: How many tests they are.
        left: The calls of `detach` that hold no teacher.
    """
    killed, redundant = (
        sum(verdict.outcome == outcome for _, verdict in judgements)
        for outcome in ("killed", "redundant")
    )
    summary = (
        f"{len(judgements)} mutants, {count} tests: {killed} killed, {redundant} redundant,"
        f" {len(judgements) - killed - redundant} not noticed."
    )
    tables = [
        ("Mutants", MUTANTS, mutant_lines(judgements)),
        ("Objectives", OBJECTIVES, objective_lines(judgements)),
    ]
    screen = console()
    for title, head, lines in tables:
        screen.print(as_rich(title, head, lines))
    screen.print(summary)
    return page(summary, tables, left)


def options() -> argparse.ArgumentParser:
    """Return what can be typed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one mutant")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="mutants with this in their name"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Judge all mutants; return 1 if one is not noticed."""
    given = options().parse_args(arguments)
    every, left = found()
    warm()
    answer = apart(tests, None, given.timeout)
    if answer is None or answer[0] != 0:
        said = answer[1].message if answer else f"no answer in {given.timeout:g} s"
        print(f"the tests do not pass on the code as it is: {said}", file=sys.stderr)
        return 1
    judgements = judge([one for one in every if given.only in one.name], given.timeout)
    text = report(judgements, answer[1].count, left)
    faults = [f"{m.name}: {v.outcome} {v.by}" for m, v in judgements if not v.good] + gaps(every)
    for fault in faults:
        print(f"not as stated: {fault}", file=sys.stderr)
    if given.markdown and not faults:
        given.markdown.write_text(text, encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
