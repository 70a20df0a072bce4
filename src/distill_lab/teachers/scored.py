"""What a teacher scores, computed once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from safetensors.torch import load_file, save_file

from distill_lab.better import sign
from distill_lab.errors import ModelError
from distill_lab.evaluation import answers, score
from distill_lab.lab import Lab
from distill_lab.models import count_parameters
from distill_lab.scores import Scores
from distill_lab.tasks import Data, Task
from distill_lab.teachers.live import Live

log = logging.getLogger(__name__)
_FORMAT = 3  # raised when what the store holds of answers changes
_FILE = "answers.safetensors"


def stored_scores(teacher: Live, task: Task, data: Data, lab: Lab) -> tuple[Scores, int]:
    """Return what a teacher scores and how many parameters it has; its network runs only once.

    Args:
        teacher: Asked where the store has no answers of it.
        task: Computes the metrics.
        data: The evaluation sets.
        lab: Gives store and device.
    """
    ingredients = {
        "format": _FORMAT,
        "teacher": teacher.fingerprint,
        "labels": list(task.problem.labels),
        "data": data.fingerprint,
        "scoring": dict(task.scoring()),
    }

    def make(folder: Path) -> None:
        model = teacher.model
        save_file(answers(task, model, data, lab.device, "teacher"), folder / _FILE)
        content = {"parameters": count_parameters(model)}
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")

    path, _ = lab.store.get("answers", ingredients, make, f"{teacher.name} on {task.name}")
    about = json.loads((path / "model.json").read_text(encoding="utf-8"))
    return score(task, data, load_file(path / _FILE)), about["parameters"]


def refuse_chance(
    scores: Scores, task: Task, data: Data, least: float, name: str, key: str, settings: str
) -> None:
    """Say what a teacher scores; refuse one that answers hardly better than a constant.

    Args:
        scores: On the evaluation sets.
        task: Names the main metric.
        data: Gives the labels.
        least: How far the main metric must be better than that of a constant answer; below 0 for
            no matter.
        name: Of the teacher.
        key: Key that chose it, for the remedy.
        settings: Where its other keys stand.

    Raises:
        ModelError: If it does.
    """
    metric = task.metrics[0]
    main = next(iter(data.evaluation.values()))
    constant = task.chance(data.of_teacher().train, main)
    reached = scores.metrics[metric]
    log.info("teacher: %s %.4f on the evaluation split", metric, reached)
    better = sign(metric) * reached >= sign(metric) * constant + least  # nan is not
    if least >= 0 and not better:
        raise ModelError(
            f"teacher {name}: its {metric} on the evaluation split is {reached:.3f}, a"
            f" constant answer gets {constant:.3f}; there is nothing to distil. Train it longer"
            f" ({settings}.epochs, {settings}.lr), choose another ({key}), or go"
            f" on all the same with {settings}.min_over_chance=-1"
        )
