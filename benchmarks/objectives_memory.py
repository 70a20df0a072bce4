"""Memory that a loss over a large vocabulary takes beside the logits; one process for each.

Called by `objectives.py` as `python -m benchmarks.objectives_memory NAME`; prints a number.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.objectives_steps import objectives
from distill_lab.objectives import Objective
from distill_lab.top_logits import TopK, TopLogits, top_logits
from distill_lab.types import Batch, Outputs

ROWS, CLASSES = 2048, 50_257
PLAIN = "plain autograd"
KEPT = 64
LARGEST = f", {KEPT} largest"  # of the teacher's logits, after an objective's name
NAMES = (
    "hinton", "mse_logits", "reverse_kl", "jsd", "skew_kl", "logit_standardized", "dkd", "dist",
    f"hinton{LARGEST}", f"reverse_kl{LARGEST}",
)  # fmt: skip
MEBI = 2**20


def copies(name: str) -> float:
    """Return the peak of a step beside both models' logits, in copies of the student's.

    Args:
        name: An objective, or "plain autograd" for Hinton's as it is usually written.

    Of a teacher whose largest logits alone are known there are no others in memory.
    """
    command = [sys.executable, "-m", "benchmarks.objectives_memory", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBI


def _step(name: str, rows: int) -> None:
    """Run forward and backward pass of an objective on random logits."""
    generator = torch.Generator().manual_seed(0)
    student = torch.empty(rows, CLASSES).normal_(generator=generator).requires_grad_()
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    if name.endswith(LARGEST):
        objective = objectives()[name.removesuffix(LARGEST)]
        teacher = _largest(rows, objective.temperature, generator)
        _backward(objective, student, teacher, labels)
        return
    teacher = torch.empty(rows, CLASSES).normal_(generator=generator)
    if name == PLAIN:
        soft = F.kl_div(
            F.log_softmax(student / 4, dim=-1), F.softmax(teacher / 4, dim=-1), reduction="sum"
        )
        (soft / rows * 8 + F.cross_entropy(student, labels) / 2).backward()
        return
    _backward(objectives()[name], student, Outputs(teacher), labels)


def _largest(rows: int, temperature: float, generator: torch.Generator) -> Outputs:
    """Return what is known of a teacher, made of a few rows that are repeated."""
    few = torch.empty(8, CLASSES).normal_(generator=generator)
    top = top_logits(few, TopK(KEPT, (temperature,)))
    values, indices, rest = (
        torch.cat([x] * (rows // 8)) for x in (top.values, top.indices, top.rest[temperature])
    )
    known = TopLogits(values, indices, {temperature: rest}, CLASSES)
    return Outputs(values[:, :0], top=known)


def _backward(objective: Objective, student: Tensor, teacher: Outputs, labels: Tensor) -> None:
    batch = Batch(torch.arange(len(labels)), {}, labels)
    terms = objective(Outputs(student), teacher, batch)
    torch.stack([term.part(batch) for term in terms.values()]).sum().backward()


def main(name: str) -> None:
    """Print the peak of one objective, in copies of the logits."""
    _step(name, 64)  # libraries and thread pools, which are not the loss's
    before, size = _peak(), ROWS * CLASSES * 4 / MEBI
    _step(name, ROWS)
    print((_peak() - before) / size - (1 if name.endswith(LARGEST) else 2))


if __name__ == "__main__":
    main(sys.argv[1])
