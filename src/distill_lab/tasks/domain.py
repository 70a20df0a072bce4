"""A teacher of one domain, a student for another: the transfer set has no labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from distill_lab.errors import ConfigError
from distill_lab.tasks.columns import Columns, to_rows
from distill_lab.tasks.files import read_table
from distill_lab.tasks.rows import Part, Rows, Splits, carve, joined, unlabelled
from distill_lab.tasks.text import TextTask

_APART = 2**40  # ids of the target's rows begin here


class Domain(TextTask):
    """The labels of one source of text, the rows of another.

    The teacher learns the source; the student is distilled on rows of the target, whose labels it
    is not shown; both are scored on rows of the target that are held out, and on the source's
    evaluation set. Where a row of the transfer set has no label, the teacher alone teaches it
    (lam = 1). The baseline learns the labelled rows: those of the source.

    Args:
        source: The task whose labels are learned.
        target_file: Rows of the other domain, with labels for those that are held out.
        text: Their column of the (first) text.
        label: Their column of the label: one of the source's labels, or its id.
        pair: Their column of the second text, for tasks on pairs.
        transfer: What the student is distilled on: "target", "source", or "both".
        skip_incomplete: Leave out rows of the target without text or label, and say how many.
        held_out: Share of the target's rows that is only reported.
        name: Short name, for tables; None names both domains.

    Raises:
        ConfigError: If the values do not fit together.
    """

    def __init__(
        self,
        *,
        source: TextTask,
        target_file: str,
        text: str = "text",
        label: str = "label",
        pair: str | None = None,
        transfer: Literal["target", "source", "both"] = "target",
        skip_incomplete: bool = False,
        held_out: float = 0.5,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name=name or f"{source.name}_to_{Path(target_file).stem}",
            metrics=source.metrics,
            max_length=source.max_length,
            selection=source.selection,
            selection_max=source.selection_max,
        )
        if source.augment.wanted:
            raise ConfigError(
                "task.source.augment: the transfer set of task=domain is settled by task.transfer;"
                " leave it out"
            )
        if not 0 < held_out < 1:
            raise ConfigError(f"task.held_out={held_out}: a share, between 0 and 1")
        self.source = source
        self.target_file = Path(target_file)
        self.columns = Columns(text=text, label=label, pair=pair)
        self.skip_incomplete = skip_incomplete
        self.transfer = transfer
        self.held_out = held_out

    def read(self) -> tuple[Rows, Mapping[str, Part]]:
        """Read the source."""
        train, evaluation = self.source.read()
        assert isinstance(train, Rows)
        self.problem = self.source.problem
        return train, evaluation

    def load(self) -> Splits:
        """Read both domains and divide them.

        Raises:
            DataError: If a file cannot be used.
        """
        known = super().load()
        assert isinstance(known.train, Rows)
        table = read_table(self.target_file)
        if self.skip_incomplete:
            table = self.columns.drop_incomplete(table, self.target_file)
        target = to_rows(table, self.target_file, self.columns, self.problem)
        target = replace(target, ids=target.ids + np.int64(_APART))
        shown, held_out = carve(target, self.held_out)
        main = next(iter(known.evaluation.values()))
        evaluation = {"evaluation": held_out, "source": main}
        if self.transfer == "source":
            return Splits(known.train, known.selection, evaluation)
        bare = unlabelled(shown)
        train = bare if self.transfer == "target" else joined(known.train, bare)
        return Splits(train, known.selection, evaluation, known.train)
