"""What `distill-lab train --help` says."""

from __future__ import annotations

from pathlib import Path

from distill_lab.config import GROUPS, conf_dir, experiments_dir

_ABOUT = {
    "task": "what is learned, from which rows",
    "teacher": "who is imitated, and how it is fine-tuned first",
    "student": "the small model, and where it starts",
    "objective": "the distillation loss",
    "optim": "optimizer, learning rate, batch size",
    "trainer": "epochs, precision, devices (any argument of Lightning's Trainer)",
    "callbacks": "schedules of T and lam, checkpoints, progress",
    "logger": "where the curves go",
    "experiments": "whole studies, laid over all of this",
}
_TEXT = """distill-lab train: from a teacher, a student and a task to a comparison

  distill-lab train [GROUP=CHOICE ...] [KEY=VALUE ...]
  distill-lab train -m KEY=V1,V2 ...      every combination, one folder a job; typed again, it
                                          goes on with the jobs that are not finished
  distill-lab train resume=RUN            go on with a run that was ended; so does the same line
  distill-lab train -m hydra/sweeper=optuna KEY='interval(LOW,HIGH)' KEY=V1,V2 ...
                                          a search for the best values; typed again, it goes on

Groups
{groups}
Keys that people change most
  task.data_dir=FOLDER         GLUE files in the official layout (else the hub)
  teacher.model=NAME           folder or hub name, an encoder or already fine-tuned
  student.num_layers=6         layers taken from the teacher (with student=layers)
  objective.temperature=4      T, softens both models' probabilities
  objective.lam=0.5            weight of the soft loss: 0 labels only, 1 teacher only
  optim.lr=5e-5                peak learning rate of the student
  optim.batch_size=32          rows of a step
  trainer.max_epochs=3         passes over the rows (or trainer.max_steps=N)
  seed=1                       order, initialisation and dropout of student and baseline
  study=NAME                   folder below runs/, group in W&B

Your own configuration
  --config-dir FOLDER          adds FOLDER/objective/mine.yaml as objective=mine, and so on
  experiments/NAME.yaml        in the working folder, laid over everything by experiments=NAME

To look
  --cfg job                    the whole composed configuration, with what you type applied
  --hydra-help                 Hydra's own flags
"""


def train_help() -> str:
    """Return the help text with the choices of every group as they are shipped."""
    rows = []
    for group, about in _ABOUT.items():
        root = conf_dir() / group if group in GROUPS else experiments_dir()
        rows.append(f"  {group:<13}{about}\n{_listed(choices(root))}")
    return _TEXT.format(groups="".join(rows))


def choices(root: Path) -> list[str]:
    """Return the names of a group's files; those that begin with _ are not to be chosen."""
    files = sorted(root.rglob("*.yaml"))
    names = [str(file.relative_to(root).with_suffix("")) for file in files]
    return [name for name in names if not Path(name).name.startswith("_")]


def _listed(names: list[str]) -> str:
    import textwrap

    indent = " " * 17
    text = ", ".join(names) or "(none yet)"
    return textwrap.fill(text, 98, initial_indent=indent, subsequent_indent=indent) + "\n"
