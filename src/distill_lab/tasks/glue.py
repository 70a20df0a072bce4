"""The nine GLUE tasks, from a folder in the official layout or from the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from distill_lab.tasks.augment import Augment
from distill_lab.tasks.columns import Columns, to_rows
from distill_lab.tasks.files import data_folder, read_glue_tsv
from distill_lab.tasks.hub import load_hub
from distill_lab.tasks.metrics import fit_problem
from distill_lab.tasks.rows import Part, Rows
from distill_lab.tasks.text import TextTask
from distill_lab.types import Problem


class Glue(TextTask):
    """A GLUE task (Wang et al. 2019, arXiv 1804.07461).

    Args:
        name: Task name, also the hub's configuration name ("sst2", "mnli", ...).
        labels: Label names in the order of their ids on the hub; one name for regression.
        tsv: Columns of the official files: `text`, `pair`, `label`.
        hub_columns: Columns on the hub: `text`, `pair`.
        kind: "classification" or "regression".
        header: Column names where the files have no header line (CoLA).
        evaluation_sets: File or hub split of each evaluation set by name, the main one first.
        data_dir: Folder with `train.tsv` and the evaluation files; None reads the hub.
        hub: Hub name of the dataset.
        skip_incomplete: Leave out rows without text or label (official QQP has a few).
        metrics: Names of the metrics, the main one first.
        max_length: Tokens at which rows are cut.
        selection: Share of train that chooses epoch, T and λ.
        selection_max: Upper bound of these rows.
        augment: More rows for the transfer set.

    Raises:
        ConfigError: If the values do not fit together.
    """

    def __init__(
        self,
        *,
        name: str,
        labels: Sequence[str],
        tsv: Mapping[str, str],
        hub_columns: Mapping[str, str],
        metrics: Sequence[str],
        kind: Literal["classification", "regression"] = "classification",
        header: Sequence[str] | None = None,
        evaluation_sets: Mapping[str, str] | None = None,
        data_dir: str | None = None,
        hub: str = "nyu-mll/glue",
        skip_incomplete: bool = False,
        max_length: int = 128,
        selection: float = 0.1,
        selection_max: int = 2000,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(
            name=name,
            metrics=metrics,
            max_length=max_length,
            selection=selection,
            selection_max=selection_max,
            augment=augment,
        )
        self.problem = Problem(kind, tuple(labels))
        fit_problem(self.metrics, self.problem)
        self.tsv = Columns(**tsv)
        self.hub_columns = Columns(label="label", **hub_columns)
        self.header = header
        self.evaluation_sets = dict(evaluation_sets or {"evaluation": "dev"})
        self.data_dir = data_folder(data_dir)
        self.hub = hub
        self.skip_incomplete = skip_incomplete

    def read(self) -> tuple[Rows, Mapping[str, Part]]:
        """Read train and the evaluation sets.

        Raises:
            DataError: If a file or the hub's answer cannot be used.
        """
        one = self._from_hub if self.data_dir is None else self._from_folder
        evaluation = {name: one(split) for name, split in self.evaluation_sets.items()}
        return one("train"), evaluation

    def _from_folder(self, split: str) -> Rows:
        assert self.data_dir is not None
        path = self.data_dir / f"{split}.tsv"
        table = read_glue_tsv(path, self.header)
        if self.skip_incomplete:
            table = self.tsv.drop_incomplete(table, path)
        first_line = 2 if self.header is None else 1
        return to_rows(table, path, self.tsv, self.problem, first_line)

    def _from_hub(self, split: str) -> Rows:
        dataset = load_hub(self.hub, self.name, split.replace("dev", "validation"))
        where, table = Path(f"{self.hub}/{self.name}/{split}"), dataset.to_pandas()
        if self.skip_incomplete:
            table = self.hub_columns.drop_incomplete(table, where)
        return to_rows(table, where, self.hub_columns, self.problem, 0)
