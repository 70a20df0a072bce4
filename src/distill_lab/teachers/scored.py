"""What a teacher scores, computed once."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from distill_lab.evaluation import answers, score
from distill_lab.lab import Lab
from distill_lab.models import count_parameters
from distill_lab.tasks import Data, TextTask
from distill_lab.teachers.live import Live
from distill_lab.types import Scores

_FORMAT = 2  # raised when what the store holds of answers changes


def stored_scores(teacher: Live, task: TextTask, data: Data, lab: Lab) -> tuple[Scores, int]:
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
    }

    def make(folder: Path) -> None:
        model = teacher.model
        save_file(answers(model, data, lab.device, "teacher"), folder / "logits.safetensors")
        content = {"parameters": count_parameters(model)}
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")

    path, _ = lab.store.get("answers", ingredients, make, f"{teacher.name} on {task.name}")
    about = json.loads((path / "model.json").read_text(encoding="utf-8"))
    return score(task, data, load_file(path / "logits.safetensors")), about["parameters"]
