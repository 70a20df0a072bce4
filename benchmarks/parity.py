"""Our gradient against that of published packages, at T = 1, 2, 4 and 8.

For each loss of each installed package: the norm of its gradient to the student's logits over that
of ours, the cosine of the two, and the cause of the disagreement. A cause is a formula too: if
their gradient departs from it by more than 1e-5, if a package has moved its function, or if a
published recipe has other weights than stated, the exit code is 1 and nothing is written. Packages
that are not installed are left out, with a line that says so. It takes a core for ten seconds.

    python -m venv parity
    parity/bin/pip install -e . textbrewer trl nvidia-modelopt requests
    parity/bin/pip install --no-deps torchdistill liger-kernel
    CUDA_VISIBLE_DEVICES= parity/bin/python -m benchmarks.parity --markdown benchmarks/parity.md
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.page import Lines, as_markdown, as_rich, setting
from benchmarks.parity_measure import TEMPERATURES, TOLERANCE, Measured, measure
from benchmarks.parity_packages import PACKAGES
from benchmarks.parity_recipes import SOURCES, recipes, restated, weights
from distill_lab.results.show import console

RATIOS = ["package", "loss", "case", *(f"T={t:g}" for t in TEMPERATURES), "cosine", "cause"]
WEIGHTS = ["recipe (restated)", "its weights", "C", "T", "soft", "hard", "lam", "scale"]


def measured_packages(faults: list[str]) -> tuple[list[Measured], list[str], list[str]]:
    """Measure what is installed.

    Args:
        faults: Gets a line for each installed package whose loss cannot be called any more.

    Returns:
        The rows, the versions found, and a line for each package that is left out.
    """
    found: list[Measured] = []
    versions: list[str] = []
    missing: list[str] = []
    for name, (rows, install) in PACKAGES.items():
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(f"{name}: not installed, left out; pip install {install}")
            continue
        try:
            found += [measure(row) for row in rows()]
        except (ImportError, AttributeError, TypeError) as error:
            faults.append(f"{versions[-1]}: its loss cannot be called as it was: {error}")
    return found, versions, missing


def ratio_lines(measured: list[Measured], faults: list[str]) -> Lines:
    """Return the first table; add a fault for each cause that is not the whole cause."""
    lines = []
    for one in measured:
        row = one.row
        if not one.holds:
            faults.append(
                f"{row.source}, {row.function}: departs from its cause ({row.cause!r}) by"
                f" {max(one.errors):.1e}, more than {TOLERANCE:.0e}"
            )
        ratios = [f"{ratio:.4f}" for ratio in one.ratios]
        cosine = f"{min(one.cosines):.3f}"
        lines.append([row.source, row.function, row.case.name, *ratios, cosine, row.cause])
    return lines


def recipe_lines(faults: list[str]) -> Lines:
    """Return the second table; add a fault for each recipe with other weights than stated."""
    lines = []
    for recipe in recipes():
        soft, hard, left = weights(recipe)
        wrong = max(abs(soft - recipe.soft), abs(hard - recipe.hard)) / recipe.scale
        if max(wrong, left) > TOLERANCE:
            faults.append(
                f"{recipe.source}, {recipe.name}: stated soft {recipe.soft:.4f} and hard"
                f" {recipe.hard:.4f}, found {soft:.4f} and {hard:.4f}, {left:.1e} of the gradient"
                " left over"
            )
        numbers = (recipe.temperature, recipe.soft, recipe.hard, recipe.lam, recipe.scale)
        words = [recipe.source, recipe.name, str(recipe.case.classes)]
        lines.append([*words, *(f"{number:.4g}" for number in numbers)])
    return lines


def page(versions: list[str], tables: list[tuple[str, list[str], Lines]], notes: list[str]) -> str:
    """Return the page that the documentation takes over."""
    parts = ["# Our gradients against published ones\n"]
    parts.append(f"Made by `python -m benchmarks.parity`. {setting(*versions)}.\n")
    parts.append(EXPLANATION)
    for title, head, lines in tables:
        parts += [f"## {title}\n", as_markdown(head, lines)]
    parts.append("## Sources of what is restated\n")
    parts.append("".join(f"- {name}: `{source}`\n" for name, source in SOURCES.items()))
    parts += [f"{note}\n" for note in notes]
    return "\n".join(parts).rstrip() + "\n"


EXPLANATION = f"""\
T=1 to T=8: the norm of their gradient to the student's logits, divided by the norm of ours. Ours is
T² times the divergence, mean over the units that count; where another objective is the counterpart,
the loss names it. Cosine: the least of the four. "Restated" formulas were written again from the
files listed below; the others are called from the installed package. Each cause was put into a
formula too, and its gradient is theirs within {TOLERANCE:.0e} of its norm.

Recipes: soft and hard are the weights of our two means that give the published gradient for C
classes; lam = soft / (soft + hard), and their loss is scale = soft + hard times ours. The scale
matters to the learning rate of SGD, to weight decay, to Adam's epsilon and to clipping.
"""


def main(arguments: list[str] | None = None) -> int:
    """Print both tables; return 1 if one of them is not true any more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    given = parser.parse_args(arguments)
    faults: list[str] = []
    found, versions, missing = measured_packages(faults)
    found += [measure(row) for row in restated()]
    tables = [
        ("Norm of their gradient / norm of ours", RATIOS, ratio_lines(found, faults)),
        ("Published recipes in our convention", WEIGHTS, recipe_lines(faults)),
    ]
    screen = console()
    for title, head, lines in tables:
        screen.print(as_rich(title, head, lines))
    for line in missing:
        screen.print(line)
    for fault in faults:
        print(f"not as stated: {fault}", file=sys.stderr)
    if given.markdown and not faults:
        given.markdown.write_text(page(versions, tables, missing), encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
