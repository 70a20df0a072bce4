"""Classification of pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ConfigError, DataError, did_you_mean
from distill_lab.store import Store, digest
from distill_lab.tasks.classes import ClassTask
from distill_lab.tasks.data import Data
from distill_lab.tasks.files import data_folder
from distill_lab.tasks.hub import load_hub
from distill_lab.tasks.metrics import METRICS, fit_problem
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.pictures import Pictures, from_folder, from_hub, from_idx
from distill_lab.tasks.pixel_rows import PixelRows
from distill_lab.tasks.places import inside
from distill_lab.tasks.rows import Part, Splits, drawn_part
from distill_lab.types import Problem

log = logging.getLogger(__name__)
CORRECTED = "_bias_corrected"


class Images(ClassTask):
    """Pictures from MNIST's files, from folders, or from the hub.

    Hinton et al. 2015 (arXiv 1503.02531), section 3: the teacher may see pictures moved by a few
    pixels, and the transfer set may lack classes, which the student then knows from the teacher's
    probabilities alone.

    Args:
        name: Short name, for tables.
        labels: Names of the classes in the order of their ids.
        data_dir: Folder of the files; None reads the hub.
        files: `train` and `evaluation`: each two IDX files, pictures and labels, or a folder that
            has one folder for each class.
        hub: Hub name of the dataset.
        hub_columns: Its columns of pictures and labels.
        hub_splits: Its splits for `train` and `evaluation`.
        size: Height and width; pictures of another size are resized, but not those of IDX files.
        channels: 1 for grey, 3 for colours.
        mean, std: Of each channel, of values from 0 to 1, by which pictures are standardised.
        jitter: Pixels by which the teacher's training pictures are moved, at most.
        jitter_student: Whether the student's are moved, too; the teacher then runs for every batch.
        left_out: Classes that the transfer set lacks; teacher and selection split have them.
        metrics: Names of the metrics, the main one first.
        selection: Share of train that chooses epoch, T and λ.
        selection_max: Upper bound of these pictures.

    Raises:
        ConfigError: If the values do not fit together.
    """

    shortest = 0  # pictures have no tokens

    def __init__(
        self,
        *,
        name: str,
        labels: Sequence[str],
        files: Mapping[str, str | Sequence[str]],
        size: Sequence[int],
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        data_dir: str | None = None,
        hub: str | None = None,
        hub_columns: Sequence[str] = ("image", "label"),
        hub_splits: Mapping[str, str] | None = None,
        jitter: int = 0,
        jitter_student: bool = False,
        left_out: Sequence[str] = (),
        metrics: Sequence[str] = ("accuracy",),
        selection: float = 0.1,
        selection_max: int = 5000,
    ) -> None:
        super().__init__(
            name=name, metrics=metrics, known=METRICS, max_length=0, selection=selection,
            selection_max=selection_max,
        )  # fmt: skip
        self.problem = Problem("classification", tuple(map(str, labels)), reads="images")
        fit_problem(self.metrics, self.problem)
        if channels not in (1, 3) or len(mean) != channels or len(std) != channels:
            raise ConfigError(
                f"task.channels={channels}: 1 or 3, with as many numbers in task.mean and task.std"
            )
        for key, given in (("files", files), ("hub_splits", hub_splits or {})):
            if given and set(given) != {"train", "evaluation"}:
                raise ConfigError(f"task.{key}={dict(given)}: name two, train and evaluation")
        if len(size) != 2 or min(size) < 1 or min(std) <= 0 or not 0 <= jitter <= max(size):
            raise ConfigError(
                f"task.size={list(size)}, std={list(std)}, jitter={jitter}: two sizes of at least"
                " 1, deviations above 0, and 0 or more pixels, at most those of the picture"
            )
        self.left_out = [self._known(str(label)) for label in left_out]
        if len(set(self.left_out)) > len(labels) - 2:
            raise ConfigError(f"task.left_out={list(left_out)}: at least two classes have to stay")
        if data_dir is None and hub is None:
            raise ConfigError("task.data_dir: name the folder of the pictures, or a dataset (hub)")
        self.data_dir = data_folder(data_dir)
        self.files = dict(files)
        self.hub = hub
        self.hub_columns = list(hub_columns)
        self.hub_splits = dict(hub_splits or {"train": "train", "evaluation": "test"})
        self.size = list(size)
        self.channels = channels
        self.mean = list(mean)
        self.std = list(std)
        self.jitter = jitter
        self.jitter_student = jitter_student

    def _known(self, label: str) -> int:
        if label not in self.problem.labels:
            hint = did_you_mean(label, self.problem.labels)
            raise ConfigError(f"task.left_out: {label} is no class{hint}")
        return self.problem.labels.index(label)

    def read(self) -> tuple[Pictures, Mapping[str, Part]]:
        """Read the pictures.

        Raises:
            DataError: If a file or the hub's answer cannot be used.
        """
        return self._part("train"), {"evaluation": self._part("evaluation")}

    def _part(self, part: str) -> Pictures:
        if self.data_dir is None:
            table = load_hub(str(self.hub), None, self.hub_splits[part])
            labels = self.problem.labels
            return from_hub(table, self.hub_columns, labels, self.size, self.channels)
        given = self.files[part]
        if isinstance(given, str):
            folder = inside(self.data_dir, given, f"task.files.{part}")
            for label in self.problem.labels:
                inside(folder, label, "task.labels")
            return from_folder(folder, self.problem.labels, self.size, self.channels)
        if len(given) != 2:
            raise ConfigError(f"task.files.{part}={list(given)}: two files, pictures and labels")
        pictures, targets = (inside(self.data_dir, name, f"task.files.{part}") for name in given)
        found = from_idx(pictures, targets, len(self.problem.labels))
        if list(found.pixels.shape[1:]) != [*self.size, self.channels]:
            has = " x ".join(map(str, found.pixels.shape[1:3]))
            raise DataError(
                f"{self.data_dir / given[0]}: pictures of {has} pixels; task.size={self.size} and"
                f" task.channels={self.channels} were expected"
            )
        return found

    def load(self) -> Splits:
        """Read the pictures, carve the selection split, leave classes out of the transfer set."""
        train, evaluation = self.read()
        rest, selection = drawn_part(len(train), self.selection, self.selection_max)
        taught, chosen = train.take(rest), train.take(selection)
        transfer = taught
        if self.left_out:
            transfer = taught.take(np.flatnonzero(~np.isin(taught.labels, self.left_out)))
            lacks = len(taught) - len(transfer)
            log.info("task: the transfer set lacks %d pictures of the classes left out", lacks)
        same = transfer is taught and not self.jitter
        return Splits(transfer, chosen, evaluation, None if same else taught)

    def encode(
        self, splits: Splits, tokenizer: PreTrainedTokenizerBase | None, store: Store
    ) -> Data:
        """Return the pictures as models read them; there is nothing to be kept."""

        def rows(part: Part, jitter: int = 0) -> PixelRows:
            assert isinstance(part, Pictures)
            return PixelRows(part, self.mean, self.std, jitter)

        own = self.jitter if self.jitter_student else 0
        taught = splits.teacher_train
        prints = {**splits.fingerprints}
        prints["tokenizer"] = digest([self.size, self.channels, self.mean, self.std])
        for name, pixels in (("train", own), ("teacher", self.jitter)):
            if pixels and name in prints:
                prints[name] = digest([prints[name], pixels])
        return Data(
            rows(splits.train, own),
            rows(splits.selection),
            {name: rows(part) for name, part in splits.evaluation.items()},
            None,
            prints,
            0,
            self.problem,
            sizes={"image_size": self.size, "num_channels": self.channels},
            teacher_train=None if taught is None else rows(taught, self.jitter),
        )

    @property
    def settles(self) -> bool:
        """Whether the selection split settles something: the bias of classes left out."""
        return bool(self.left_out)

    def settled_scores(
        self, answers: Tensor, rows: ModelRows, of_selection: Tensor, selection: ModelRows
    ) -> dict[str, float]:
        """Return the metrics with the logits of left-out classes raised.

        Section 3 of the paper raises the bias of the class that the transfer set lacks by what is
        best on the test set; here it is what is best on the selection split.
        """
        labels = torch.from_numpy(selection.labels)
        bias = torch.zeros(answers.shape[1])
        for _ in range(3 if len(self.left_out) > 1 else 1):
            for label in self.left_out:
                bias[label] = 0.0
                bias[label] = best_bias(of_selection.float() + bias, labels, label)
        found = self.score(answers.float() + bias, rows)
        return {f"{name}{CORRECTED}": value for name, value in found.items()}


def best_bias(logits: Tensor, labels: Tensor, label: int) -> float:
    """Return what raises a class's logit so that most rows are answered right.

    Args:
        logits: `[rows, classes]`.
        labels: `[rows]`.
        label: The class.
    """
    others = logits.clone()
    others[:, label] = float("-inf")
    best, answer = others.max(dim=1)
    needed = (best - logits[:, label]).double()  # a row is given the class beyond this bias
    order = needed.argsort()
    # Each row that changes its answer is won where it is of the class, lost where it was right.
    change = (labels == label).long() - (answer == labels).long()
    total = torch.cat([torch.zeros(1, dtype=torch.int64), change[order].cumsum(0)])
    at = int(total.argmax())
    edges = torch.cat([needed[order[:1]] - 1, needed[order], needed[order[-1:]] + 1])
    return float((edges[at] + edges[at + 1]) / 2)
