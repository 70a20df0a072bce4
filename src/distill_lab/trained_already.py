"""A training that has ended in a run that has not: its weights wait for the run to go on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from distill_lab import ranks
from distill_lab.callbacks.resume import go_on, marked
from distill_lab.errors import first_line
from distill_lab.meter import Cost
from distill_lab.modules.base import TrainedModel
from distill_lab.progress_files import ProgressFiles

log = logging.getLogger(__name__)


def trained_already(
    files: ProgressFiles, module: TrainedModel, loggers: Sequence[Any], name: str
) -> Cost | None:
    """Take over what an earlier try has trained to its end.

    Args:
        files: Of the training.
        module: Gets the weights.
        loggers: Are told what they have written before.
        name: "teacher", "student" or "baseline", for the log.

    Returns:
        What the training took; None if there was none.
    """
    found = files.finished()
    if found is None:
        return None
    module.load_state_dict(found["state_dict"])
    go_on(loggers, found["marks"])
    log.info("%s: trained already, by an earlier try", name)
    return Cost(**found["cost"])


def keep_trained(
    files: ProgressFiles, module: TrainedModel, loggers: Sequence[Any], cost: Cost, name: str
) -> None:
    """Keep a trained module until the run has ended, so that nobody trains it again.

    Args:
        files: Of the training.
        module: With the weights of its best epoch.
        loggers: What they have written is marked.
        cost: What the training took.
        name: "teacher", "student" or "baseline", for the log.
    """
    marks = marked(loggers)
    if ranks.rank() == 0:
        content = {"state_dict": module.state_dict(), "cost": cost.plain(), "marks": marks}
        try:
            files.finish(lambda file: torch.save(content, file))
        except (OSError, RuntimeError) as error:  # the latter of torch's writer
            log.warning("%s: not kept until the run ends, %s", name, first_line(error))
            files.drop_unfinished()
    ranks.together()
