"""The losses of installed packages, called as they are; one function for each package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.parity_measure import (
    Case,
    Loss,
    Row,
    cross_entropy,
    hinton,
    hinton_with_pads,
    mean_of,
    rows,
    shifted,
    times,
    tokens,
)
from distill_lab.objectives.dist import relations
from distill_lab.objectives.jsd import jsd
from distill_lab.objectives.logit_standardized import standardize
from distill_lab.objectives.mse_logits import logit_distance

NO_T2 = "no T²"
ALPHA = 0.3


def _no_t2(loss: Loss) -> Loss:
    return times(loss, lambda _, temperature: temperature**-2)


def _jsd(beta: float) -> Loss:
    return lambda case, student, temperature: (
        mean_of(case, student, lambda s, t: jsd(s, t, temperature, beta)) * temperature**2
    )


def textbrewer() -> Iterator[Row]:
    """Yield the rows of TextBrewer."""
    losses = import_module("textbrewer.losses")

    def theirs(case: Case, student: Tensor, temperature: float) -> Tensor:
        return losses.kd_ce_loss(student, case.teacher, temperature)

    def squared(case: Case, student: Tensor, temperature: float) -> Tensor:
        return losses.kd_mse_loss(student, case.teacher, temperature)

    def centred(case: Case, student: Tensor, _: float) -> Tensor:
        return mean_of(case, student, logit_distance)

    def shift_too(case: Case, student: Tensor, temperature: float) -> Tensor:
        shift = (student - case.teacher).mean(dim=-1).square().mean()
        return (centred(case, student, temperature) + shift) / temperature**2

    name = "textbrewer"
    yield Row(name, "kd_ce_loss", rows(), theirs, hinton, NO_T2, _no_t2(hinton))
    padded = f"{NO_T2}; it has no mask: pads count"
    yield Row(name, "kd_ce_loss", tokens(), theirs, hinton, padded, _no_t2(hinton_with_pads))
    cause = "logits divided by T, so 1/T²; not centred: it also punishes a shift of all logits"
    yield Row(name, "kd_mse_loss (ours: mse_logits)", rows(), squared, centred, cause, shift_too)


def trl() -> Iterator[Row]:
    """Yield the rows of TRL: the loss of its GKD trainer, and that of its DistillationTrainer."""
    gkd = _first("trl.experimental.gkd", "trl.trainer.gkd_trainer").GKDTrainer

    def theirs(beta: float, masked: bool) -> Loss:
        return lambda case, student, temperature: gkd.generalized_jsd_loss(
            student, case.teacher, case.labels if masked else None, beta, temperature
        )

    def per_sequence(case: Case, student: Tensor, temperature: float) -> Tensor:
        length = student.shape[1]
        return hinton_with_pads(case, student, temperature) * length / temperature**2

    for beta, ours in ((0.0, "KL"), (0.5, "jsd"), (1.0, "reverse_kl")):
        function = f"GKD generalized_jsd_loss, beta={beta:g} (ours: {ours})"
        loss = _jsd(beta)
        yield Row("trl", function, rows(), theirs(beta, False), loss, NO_T2, _no_t2(loss))
    name = "GKD generalized_jsd_loss, beta=0"
    both = theirs(0.0, True), hinton
    yield Row("trl", f"{name}, labels", tokens(), *both, NO_T2, _no_t2(hinton))
    cause = f"{NO_T2}; pads count; a mean over sequences, not tokens: grows with the length"
    bare = theirs(0.0, False), hinton
    yield Row("trl", f"{name}, no labels", tokens(), *bare, cause, per_sequence)
    yield from _trl_distillation()


def _trl_distillation() -> Iterator[Row]:
    fused = import_module("trl.trainer.distillation_trainer")._chunked_divergence_loss

    def theirs(beta: float) -> Loss:
        def loss(case: Case, student: Tensor, temperature: float) -> Tensor:
            head = torch.eye(case.classes)
            mask = case.mask.long()
            found = fused(student, case.teacher, head, head, mask, beta, temperature=temperature)
            return found[0]

        return loss

    for beta in (0.0, 0.5):
        name = f"DistillationTrainer, beta={beta:g}" + (" (ours: jsd)" if beta else "")
        yield Row("trl", name, tokens(), theirs(beta), _jsd(beta), NO_T2, _no_t2(_jsd(beta)))


def torchdistill() -> Iterator[Row]:
    """Yield the rows of torchdistill."""
    losses = import_module("torchdistill.losses.mid_level")

    def theirs(build: Callable[[float], Any], labelled: bool = False) -> Loss:
        def loss(case: Case, student: Tensor, temperature: float) -> Tensor:
            answers = ({"logits": {"output": z}} for z in (student, case.teacher))
            return build(temperature)(*answers, targets=case.labels if labelled else None)

        return loss

    where = ("logits", "output", "logits", "output")
    both = [
        theirs(lambda T: losses.KDLoss(*where, T, alpha=ALPHA), given) for given in (True, False)
    ]

    def mixed(case: Case, student: Tensor, temperature: float) -> Tensor:
        soft = hinton(case, student, temperature)
        return ALPHA * cross_entropy(case, student) + (1 - ALPHA) * soft

    name = "torchdistill"
    cause = "the same, but alpha weighs the labels: lam = 1 - alpha"
    yield Row(name, f"KDLoss, alpha={ALPHA}, targets", rows(), both[0], mixed, cause, mixed)
    cause = f"{NO_T2}, and no weight either"
    yield Row(name, "KDLoss without targets", rows(), both[1], hinton, cause, _no_t2(hinton))
    standard = theirs(lambda T: losses.LogitStdKDLoss(*where, T, alpha=0))
    ours = _logit_standardized
    function = "LogitStdKDLoss, alpha=0 (ours: logit_standardized)"
    yield Row(name, function, rows(), standard, ours, NO_T2, _no_t2(ours))
    correlated = theirs(lambda T: losses.DISTLoss(*where, tau=T))
    yield Row(name, "DISTLoss (ours: dist)", rows(), correlated, _dist, "the same", _dist)


def _logit_standardized(case: Case, student: Tensor, temperature: float) -> Tensor:
    standard = Case(case.name, student, standardize(case.teacher), case.labels)
    return hinton(standard, standardize(student), temperature)


def _dist(case: Case, student: Tensor, temperature: float) -> Tensor:
    inter, intra = relations(student, case.teacher, temperature)
    return temperature**2 * (inter / len(student) + intra)


def modelopt() -> Iterator[Row]:
    """Yield the rows of NVIDIA's ModelOpt."""
    kd = import_module("modelopt.torch.distill.losses").LogitsDistillationLoss

    def theirs(**reduction: str) -> Loss:
        return lambda case, student, temperature: kd(temperature, **reduction)(
            student, case.teacher
        )

    def per_class(loss: Loss) -> Loss:
        return times(loss, lambda case, _: 1 / case.classes)

    name, function = "nvidia-modelopt", "LogitsDistillationLoss"
    classes = "mean over classes too (its default): 1/C"
    yield Row(name, function, rows(), theirs(), hinton, classes, per_class(hinton))
    batchmean = theirs(reduction="batchmean")
    yield Row(name, f"{function}, batchmean", rows(), batchmean, hinton, "the same", hinton)
    cause = "mean over the vocabulary too: 1/V; it has no mask: pads count"
    padded = per_class(hinton_with_pads)
    yield Row(name, function, tokens(), theirs(), hinton, cause, padded)
    yield _modelopt_trainer(kd)


def _modelopt_trainer(kd: Any) -> Row:
    trainer = import_module("modelopt.torch.distill.plugins.huggingface").KDTrainer

    def theirs(case: Case, student: Tensor, temperature: float) -> Tensor:
        answers = SimpleNamespace(logits=student), SimpleNamespace(logits=case.teacher)
        criterion = kd(temperature, reduction="none")
        parts = SimpleNamespace(_kd_criterion=criterion, _last_teacher_outputs=answers[1])
        return trainer._standard_kd_loss(parts, answers[0], case.labels)

    def ours(case: Case, student: Tensor, temperature: float) -> Tensor:
        return hinton(*shifted(case, student), temperature)

    function = "KDTrainer (ours: shifted by one)"
    return Row("nvidia-modelopt", function, tokens(), theirs, ours, "the same", ours)


def liger() -> Iterator[Row]:
    """Yield the rows of Liger: the fused loss that runs without Triton."""
    fused = import_module("liger_kernel.chunked_loss").LigerFusedLinearJSDLoss

    def theirs(beta: float) -> Loss:
        def loss(case: Case, student: Tensor, temperature: float) -> Tensor:
            heads = [torch.eye(case.classes, requires_grad=own) for own in (True, False)]
            flat = student.flatten(0, -2), case.teacher.flatten(0, -2)
            soft_only = fused(0.0, 1.0, beta=beta, temperature=temperature, compiled=False)
            return soft_only(flat[0], heads[0], flat[1], heads[1], case.labels.flatten())

        return loss

    for beta in (0.0, 0.5):
        name = f"LigerFusedLinearJSDLoss, beta={beta:g}" + (" (ours: jsd)" if beta else "")
        both = theirs(beta), _jsd(beta)
        yield Row("liger-kernel", name, tokens(), *both, NO_T2, _no_t2(_jsd(beta)))


def _first(*modules: str) -> Any:
    for module in modules[:-1]:
        try:
            return import_module(module)
        except ModuleNotFoundError:
            continue
    return import_module(modules[-1])


PACKAGES: dict[str, tuple[Callable[[], Iterator[Row]], str]] = {
    "textbrewer": (textbrewer, "textbrewer"),
    "trl": (trl, "trl"),
    "torchdistill": (torchdistill, "--no-deps torchdistill"),
    "nvidia-modelopt": (modelopt, "nvidia-modelopt requests"),
    "liger-kernel": (liger, "--no-deps liger-kernel"),
}
"""By distribution: its rows, and what `pip install` is given to have them."""
