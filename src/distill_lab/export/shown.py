"""What the terminal shows of an export."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from distill_lab.disk import in_bytes
from distill_lab.export.exporting import Order, size_of
from distill_lab.export.parity import Parity
from distill_lab.export.readme import rows_of
from distill_lab.results.show import console


def show(folder: Path, run: Path, order: Order, parity: Parity | None) -> None:
    """Print how a form compares with its student, its size, and where it lies.

    Args:
        folder: What was written.
        run: What it comes from.
        order: What was asked for.
        parity: How it compares; None where nobody has looked.
    """
    out = console()
    if parity is None:
        out.print("unchecked: nobody has held it against the student")
    else:
        title = f"{order.form} against the student, {parity.count:,} rows ({parity.rows})"
        out.print(title, highlight=False, markup=False)
        table = Table(box=box.SIMPLE)
        table.add_column("")
        for name in ("found", "bound"):
            table.add_column(name, justify="right")
        for row in rows_of(parity, order.bounds):
            table.add_row(*row)
        out.print(table)
    before, after = size_of(run / "student"), size_of(folder)
    out.print(f"{in_bytes(after)}, the student {in_bytes(before)}", highlight=False)
    out.print(f"kept in {folder}", highlight=False, soft_wrap=True, markup=False)
