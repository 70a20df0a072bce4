"""The baseline: the same student, start, rows and budget, without the teacher."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from distill_lab import ranks
from distill_lab.csv_log import CsvLog
from distill_lab.evaluation import answers, score
from distill_lab.heads import described
from distill_lab.lab import Lab
from distill_lab.models import state_fingerprint
from distill_lab.modules import FineTuning
from distill_lab.scores import Trained
from distill_lab.store import digest
from distill_lab.students.int8 import sizes
from distill_lab.tasks import Data, Task
from distill_lab.training import fit, forget

log = logging.getLogger(__name__)
_FORMAT = 2  # raised when what the store holds of a baseline changes
_ANSWERS = "answers.safetensors"


def train_baseline(start: PreTrainedModel, task: Task, data: Data, lab: Lab) -> Trained:
    """Train a student on labels alone, or find it in the store.

    Args:
        start: The student before its first step; it is trained in place.
        task: Names the problem and its metrics.
        data: The rows.
        lab: Gives budget, optimizer and store.
    """
    ingredients = {
        "format": _FORMAT,
        "start": state_fingerprint(start.state_dict()),
        "config": digest(json.loads(start.config.to_json_string())),
        "data": data.fingerprint,
        "problem": {**asdict(task.problem), "metric": task.metrics[0], **task.scoring()},
        "optim": asdict(lab.optim),
        **lab.budget.ingredients(),
    }

    def make(folder: Path) -> None:
        log.info("baseline: the same student without the teacher")
        loggers = [CsvLog(folder)]
        module = FineTuning(start, task, lab.optim)
        cost = fit(
            module, data.of_baseline(), lab.budget, folder, "baseline", loggers, digest(ingredients)
        )
        if ranks.rank() > 0:
            return
        forget(folder)
        save_file(answers(task, start, data, lab.device, "baseline"), folder / _ANSWERS)
        start.save_pretrained(folder / "student")
        data.save_tokenizer(folder / "student")
        content = {**sizes(start), **cost.plain()}
        (folder / "cost.json").write_text(json.dumps(content), encoding="utf-8")

    path, found = ranks.kept(
        lab.store, "baselines", ingredients, make,
        f"{described(start.config)} on {task.name}", resumable=True,
    )  # fmt: skip
    log.info("baseline: %s %s", "found in the store:" if found else "kept as", path)
    scores = score(task, data, load_file(path / _ANSWERS))
    cost = json.loads((path / "cost.json").read_text(encoding="utf-8"))
    return Trained(scores, cost, path.name)
