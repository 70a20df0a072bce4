"""A teacher whose network is run for every batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from distill_lab.forward import forward
from distill_lab.scores import Scores, Trained
from distill_lab.types import Batch, Outputs, Wanted


@dataclass
class Live:
    """A frozen teacher, ready to be asked; its network is loaded when somebody asks.

    Not a module, so that a LightningModule that holds it neither trains nor saves it.

    Attributes:
        load: Loads the network.
        name: What tables call it.
        path: Folder of the fine-tuned model.
        fingerprint: Changes with the teacher's weights.
        scores: Its metrics and logits on the evaluation sets.
        cost: Parameters, and what its fine-tuning took where the lab has done it.
    """

    load: Callable[[], PreTrainedModel]
    name: str
    path: str
    fingerprint: str
    scores: Scores = field(default_factory=Scores)
    cost: Mapping[str, float | int | None] = field(default_factory=dict)
    _model: PreTrainedModel | None = None

    @property
    def model(self) -> PreTrainedModel:
        """The network, in evaluation mode, without gradients."""
        if self._model is None:
            self._model = self.load().eval().requires_grad_(False)
        return self._model

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""
        return self._model is not None

    def release(self) -> None:
        """Forget the network, which takes its memory, until somebody asks again."""
        self._model = None

    def trained(self) -> Trained:
        """Return the teacher as a model of the comparison."""
        return Trained(self.scores, self.cost, self.fingerprint)

    def signals(self, batch: Batch, wanted: Wanted) -> Outputs:
        """Run the network on a batch, on the batch's device."""
        device = batch.labels.device
        if self.model.device != device:
            self.model.to(device)  # type: ignore[arg-type]
        with torch.no_grad():
            return forward(self.model, batch.for_teacher(), wanted)
