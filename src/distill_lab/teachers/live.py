"""A teacher whose network is run for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from distill_lab.forward import forward
from distill_lab.models import count_parameters
from distill_lab.types import Batch, Outputs, Scores, Trained, Wanted


@dataclass
class Live:
    """A frozen teacher, ready to be asked.

    Not a module, so that a LightningModule that holds it neither trains nor saves it.

    Attributes:
        model: The network, in evaluation mode, without gradients.
        name: What tables call it.
        path: Folder of the fine-tuned model.
        fingerprint: Changes with the teacher's weights.
        scores: Its metrics and logits on the evaluation sets.
        training: What its fine-tuning took; empty when it came fine-tuned.
    """

    model: PreTrainedModel
    name: str
    path: str
    fingerprint: str
    scores: Scores
    training: Mapping[str, float | int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)

    def trained(self) -> Trained:
        """Return the teacher as a model of the comparison."""
        cost = {"parameters": count_parameters(self.model), **self.training}
        return Trained(self.scores, cost, self.fingerprint)

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Run the network on a batch, on the batch's device."""
        device = batch.labels.device
        if self.model.device != device:
            self.model.to(device)  # type: ignore[arg-type]
        with torch.no_grad():
            return forward(self.model, batch.for_teacher(), wanted)
