"""Matching hidden states, layer by layer, on the tokens that are not padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distill_lab.errors import ConfigError
from distill_lab.objectives.base import Objective
from distill_lab.objectives.hard import hard_loss
from distill_lab.types import Batch, Fit, Needs, Outputs, Term, Wanted

Distance = Literal["mse", "cosine"]
LayerMap = Literal["uniform", "last"]


def hidden_distance(student: Tensor, teacher: Tensor, mask: Tensor, distance: Distance) -> Tensor:
    """Return the distance of two hidden states, summed over the tokens that count.

    Args:
        student: `[batch, length, width]`.
        teacher: `[batch, length, width]`; no gradient flows to it.
        mask: 1 for tokens, 0 for padding, `[batch, length]`.
        distance: "mse" is the squared difference, mean over the width (Romero et al. 2015, arXiv
            1412.6550, with the mean for their sum); "cosine" is 1 - cosine (Sanh et al. 2019).

    Returns:
        A scalar in float32.
    """
    s, t = student.float(), teacher.detach().float()
    if distance == "mse":
        total: Tensor = _Square.apply(s, t, mask)  # type: ignore[no-untyped-call]
        return total / s.shape[-1]
    each = 1 - F.cosine_similarity(s, t, dim=-1)
    return each.masked_fill(mask == 0, 0.0).sum()


class _Square(torch.autograd.Function):
    """The squared difference of hidden states, in half of autograd's passes over memory."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Sum over the tokens that count."""
        difference = (student - teacher).masked_fill_((mask == 0)[:, :, None], 0.0)
        ctx.save_for_backward(difference)
        flat = difference.flatten()
        return torch.dot(flat, flat)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        """Give the student's gradient; none flows to the teacher."""
        (difference,) = ctx.saved_tensors
        return difference * (2 * outer), None, None


def projected(states: Tensor, projection: nn.Module) -> Tensor:
    """Return hidden states in the teacher's width.

    Args:
        states: The student's, `[batch, length, width]`.
        projection: A linear map, which may be in half precision as the student is, or the identity.
    """
    weight = getattr(projection, "weight", states)
    answer: Tensor = projection(states.to(weight.dtype))
    return answer


def layer_pairs(
    student: int, teacher: int, layers: LayerMap | Sequence[Sequence[int]]
) -> list[tuple[int, int]]:
    """Return which hidden state of the student is held against which of the teacher.

    State 0 is the embeddings, state i the output of layer i.

    Args:
        student: Layers of the student.
        teacher: Layers of the teacher.
        layers: "uniform" maps every state i to `i * teacher / student`, as TinyBERT (Jiao et al.
            2020, arXiv 1909.10351); "last" maps the last alone; or pairs `[student, teacher]`.

    Raises:
        ConfigError: If a pair names a state that is not there.
    """
    if layers == "last":
        return [(student, teacher)]
    if layers == "uniform":
        return [(i, round(i * teacher / student)) for i in range(student + 1)]
    pairs = [(int(pair[0]), int(pair[1])) for pair in layers if len(pair) == 2]
    inside = all(0 <= s <= student and 0 <= t <= teacher for s, t in pairs)
    if not pairs or len(pairs) != len(layers) or not inside:
        raise ConfigError(
            f"objective.layers={layers}: pairs [student, teacher] are needed, from 0 (embeddings)"
            f" to {student} and {teacher}"
        )
    return pairs


class Hidden(Objective):
    """`(1 - lam) * hard + lam * mean over layer pairs of the distance of hidden states`.

    Where widths differ, the student's states pass through a trained linear projection, one for all
    pairs as in TinyBERT; it is saved in checkpoints and left out of the exported student.

    Args:
        lam: λ, the weight of the distance, 0 to 1.
        distance: "mse" or "cosine".
        layers: Which states are compared, see `layer_pairs`.
    """

    scheduled = ("lam",)
    all_logits = False
    inside = True

    def __init__(
        self,
        *,
        lam: float = 0.5,
        distance: Distance = "mse",
        layers: LayerMap | Sequence[Sequence[int]] = "uniform",
    ) -> None:
        super().__init__(lam=lam)
        self.distance: Distance = distance
        self.layers = layers
        self.pairs: list[tuple[int, int]] = []
        self.projection: nn.Module = nn.Identity()

    def prepare(self, fit: Fit) -> None:
        """Settle the layer pairs; draw a projection where widths differ."""
        total = fit.student.num_hidden_layers, fit.teacher.num_hidden_layers
        self.pairs = layer_pairs(*total, self.layers)
        states = (tuple(sorted(set(side))) for side in zip(*self.pairs, strict=True))
        self.needs = Needs(*(Wanted(side) for side in states))
        width = fit.student.hidden_size, fit.teacher.hidden_size
        self.projection = nn.Linear(*width) if width[0] != width[1] else nn.Identity()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms `hard` and `hidden`."""
        distances = [
            hidden_distance(
                projected(student.hidden_states[s], self.projection),
                teacher.hidden_states[t],
                batch.mask,
                self.distance,
            )
            for s, t in self.pairs
        ]
        hard = hard_loss(student.logits, batch.labels)
        return {
            "hard": Term(hard, "answers", 1 - self.lam),
            "hidden": Term(torch.stack(distances).mean(), "tokens", self.lam),
        }
