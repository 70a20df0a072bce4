"""The triple loss of DistilBERT: Sanh et al. 2019."""

from __future__ import annotations

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective, needs_classes
from distill_lab.objectives.buckets import compared
from distill_lab.objectives.hard import hard_loss
from distill_lab.objectives.hidden import hidden_distance
from distill_lab.objectives.hinton import soft_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Term, Wanted


class DistilBERT(Objective):
    """`soft * T² * KL + hard * CE + cosine * (1 - cos of the last hidden states)`.

    Sanh et al. 2019 (arXiv 1910.01108), section 3, with the weights 5, 2, 1 and T = 2 of the
    authors' command line. The three weights take the place of λ. The cosine is a mean over the
    tokens that are not padding.

    Args:
        temperature: T, above 0.
        soft: Weight of the divergence.
        hard: Weight of the labels (in pre-training, of the masked words).
        cosine: Weight of the hidden states' direction.

    Raises:
        ConfigError: If a weight is negative or all are 0.
    """

    scheduled = ("temperature",)
    all_logits = False
    inside = True

    def __init__(
        self,
        *,
        temperature: float = 2.0,
        soft: float = 5.0,
        hard: float = 2.0,
        cosine: float = 1.0,
    ) -> None:
        super().__init__(temperature=temperature)
        if min(soft, hard, cosine) < 0 or max(soft, hard, cosine) == 0:
            raise ConfigError(
                f"objective.soft={soft}, hard={hard}, cosine={cosine}: weights must not be"
                " negative, and one of them must be above 0"
            )
        self.soft = soft
        self.hard = hard
        self.cosine = cosine
        self.last = (0, 0)
        self.inside = cosine > 0

    def prepare(self, fit: Fit) -> None:
        """Refuse a regression, and models of different widths."""
        needs_classes(fit, 2, "distilbert", "one class has no probabilities to compare")
        if self.cosine == 0:
            return
        self.last = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        self.needs = Needs(Wanted((self.last[0],)), Wanted((self.last[1],)))
        widths = fit.student.hidden_size, fit.teacher.hidden_size
        if widths[0] != widths[1]:
            raise ConfigError(
                f"objective=distilbert: the student is {widths[0]} wide, the teacher {widths[1]},"
                " and a cosine needs one width; use objective=hidden (it projects), or"
                " objective.cosine=0"
            )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `soft`, `hard` and, if it has a weight, `cosine`."""
        soft = compared(soft_loss, student, teacher, self.temperature)
        found = {
            "soft": Term(soft, "answers", self.soft * self.temperature**2),
            "hard": Term(hard_loss(student.logits, batch.labels), "answers", self.hard),
        }
        if self.cosine > 0:
            s, t = student.hidden_states[self.last[0]], teacher.hidden_states[self.last[1]]
            cosine = hidden_distance(s, t, batch.mask, "cosine")
            found["cosine"] = Term(cosine, "tokens", self.cosine)
        return found
