"""TinyBERT: attention, hidden states and embeddings first, then predictions; Jiao et al. 2020."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill_lab.errors import ConfigError
from distill_lab.objectives.attention import attention_pairs
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hidden import hidden_distance, layer_pairs, projected
from distill_lab.objectives.hinton import soft_and_scale
from distill_lab.objectives.pairwise import compared
from distill_lab.objectives.relations import needs_attention, needs_heads, scores_mse
from distill_lab.types import Attention, Batch, Fit, Needs, Outputs, Term, Wanted

log = logging.getLogger(__name__)


def score_distance(layers: Sequence[tuple[Attention, Attention]], mask: Tensor) -> Tensor:
    """Return the squared difference of attention scores before the softmax, mean over heads.

    Jiao et al. 2020 (arXiv 1909.10351), equation 7, over pairs of tokens; the authors' code also
    counts pairs with padding, as 0, so its mean depends on how far a batch is padded.

    Args:
        layers: A student's layer and a teacher's with as many heads, to which no gradient flows.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.

    Returns:
        A distance for each, summed over the pairs, float32 `[layers]`.
    """
    return compared(scores_mse, layers, mask)


class TinyBERT(Objective):
    """First the inside of the model, then its answers, each with its own warm-up and decay.

    First stage (equations 7 to 9): the sum over the student's layers i, held against the
    teacher's `i * teacher layers / student layers`, of the squared distances of attention scores
    and of hidden states, and that of the embeddings; no labels. Second stage (equation 10):
    Hinton's objective, by default at T = 1 without labels, as the paper. Where widths differ,
    embeddings and hidden states each pass through a trained projection; the authors' code shares
    one between them.

    Args:
        intermediate: Share of the training steps in the first stage; the paper trains 10 epochs,
            then 3.
        temperature: T of the second stage, above 0.
        lam: λ of the second stage, 0 to 1.

    Raises:
        ConfigError: If the share is not between 0 and 1.
    """

    all_logits = False
    inside = True

    def __init__(
        self, *, intermediate: float = 0.77, temperature: float = 1.0, lam: float = 1.0
    ) -> None:
        super().__init__(temperature=temperature, lam=lam)
        if not 0 < intermediate < 1:
            raise ConfigError(
                f"objective.intermediate={intermediate}: a share of the training, between 0 and 1"
            )
        self.stages = (intermediate, 1 - intermediate)
        self.hidden_pairs: list[tuple[int, int]] = []
        self.attention_pairs: list[tuple[int, int]] = []
        self.project_embeddings: nn.Module = nn.Identity()
        self.project_hidden: nn.Module = nn.Identity()

    def prepare(self, fit: Fit) -> None:
        """Settle the layer pairs, draw projections, refuse heads that cannot be compared."""
        needs_attention(fit, "tinybert")
        needs_heads(fit, "tinybert", "use objective=minilm_v2 or hidden")
        total = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        self.hidden_pairs = layer_pairs(*total, "uniform")
        self.attention_pairs = attention_pairs(*total, "uniform")
        hidden, attention = (
            [tuple(sorted(set(side))) for side in zip(*pairs, strict=True)]
            for pairs in (self.hidden_pairs, self.attention_pairs)
        )
        self.needs = Needs(*(Wanted(h, a) for h, a in zip(hidden, attention, strict=True)))
        width = fit.student.hidden_size, fit.teacher.hidden_size
        equal = width[0] == width[1]
        self.project_embeddings = nn.Identity() if equal else nn.Linear(*width)
        self.project_hidden = nn.Identity() if equal else nn.Linear(*width)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `attention`, `hidden`, `embeddings`, or later `hard` and `soft`."""
        if self.stage == 0:
            return self._inside(student, teacher, batch)
        if self.needs != Needs():
            log.info("student: the layers are done, now the predictions")
            self.needs = Needs()
        soft, scale = soft_and_scale(student, teacher, batch, self.temperature)
        return self.mixed(student, batch, soft, scale)

    def _inside(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        layers = [(student.attention[s], teacher.attention[t]) for s, t in self.attention_pairs]
        attention = score_distance(layers, batch.mask)
        embeddings, *hidden = (
            hidden_distance(
                projected(
                    student.hidden_states[s],
                    self.project_hidden if s else self.project_embeddings,
                ),
                teacher.hidden_states[t], batch.mask, "mse",
            )
            for s, t in self.hidden_pairs
        )  # fmt: skip
        return {
            "attention": Term(attention.sum(), "token_pairs", 1.0),
            "hidden": Term(torch.stack(hidden).sum(), "tokens", 1.0),
            "embeddings": Term(embeddings, "tokens", 1.0),
        }
