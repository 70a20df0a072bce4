"""Formulas restated from published files, and published recipes in our convention.

Nothing here is called from a package: each formula was written again from the file that its source
names, because that is a script, a guide, or a package that current versions of PyTorch and
transformers no longer import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.parity_measure import (
    Case,
    Loss,
    Row,
    cross_entropy,
    gradient,
    hinton,
    rows,
    times,
)
from distill_lab.objectives.logit_standardized import standardize

SOURCES = {
    "guide": "huggingface/transformers:docs/source/en/tasks/"
    "knowledge_distillation_for_image_classification.md",
    "PKD": "intersun/PKD-for-BERT-Model-Compression:src/KD_loss.py, src/argument_parser.py",
    "TinyBERT": "huawei-noah/Pretrained-Language-Model:TinyBERT/task_distill.py",
    "SQuAD script": "huggingface/transformers:examples/research_projects/distillation/"
    "run_squad_w_distillation.py",
    "DistilBERT": "huggingface/transformers:examples/research_projects/distillation/"
    "distiller.py, README.md",
    "KD_Lib": "KD_Lib 0.0.32:KD_Lib/KD/vision/vanilla/vanilla_kd.py (does not import beside"
    " transformers 5, which has no AdamW)",
    "neural_compressor": "neural_compressor 2.6:neural_compressor/compression/distillation/"
    "criterions.py (gone in 3.10)",
    "TextBrewer": "textbrewer 0.2.1:losses.py, configurations.py",
    "torchdistill": "yoshitomo-matsubara/torchdistill:configs/sample/glue/sst2/kd/"
    "bert_base_uncased_from_bert_large_uncased.yaml,"
    " examples/hf_transformers/text_classification.py (targets=None)",
    "logit standardisation": "sunshangquan/logit-standardization-KD:mdistiller/distillers/KD.py,"
    " mdistiller/engine/cfg.py",
}
"""Where each restated formula and its weights were read."""


def divergences(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return what all these files begin with: `kl_div` before its reduction."""
    log_q = F.log_softmax(student / temperature, dim=-1)
    return F.kl_div(log_q, F.softmax(teacher / temperature, dim=-1), reduction="none")


def batchmean(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return `KLDivLoss(reduction="batchmean")` times T²."""
    return divergences(student, teacher, temperature).sum() / len(student) * temperature**2


def guide(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return the soft loss of the transformers guide, which is DistilBERT's too.

    Its lambda weighs the soft loss, as ours; in the guide's first version it weighed the labels.
    """
    return batchmean(student, case.teacher, temperature)


def pkd(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return `d_loss` of PKD, `reduction="mean"`; neural_compressor's KL has the same form."""
    return divergences(student, case.teacher, temperature).mean() * temperature * temperature


def tinybert(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return `soft_cross_entropy` of TinyBERT."""
    log_q = F.log_softmax(student / temperature, dim=-1)
    return (-F.softmax(case.teacher / temperature, dim=-1) * log_q).mean()


def kd_lib(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return the soft part of `VanillaKD.calculate_kd_loss`, whose default is an MSE."""
    q, p = (F.softmax(z / temperature, dim=1) for z in (student, case.teacher))
    return temperature * temperature * F.mse_loss(p, q)


def brier(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return T²/C times the squared distance of the probabilities, mean over the rows."""
    q, p = (F.softmax(z / temperature, dim=-1) for z in (student, case.teacher))
    return temperature**2 / case.classes * (q - p).square().sum(dim=-1).mean()


def restated() -> Iterator[Row]:
    """Yield the restated formulas as rows of the first table."""
    per_class = times(hinton, lambda case, _: 1 / case.classes)
    neither = times(hinton, lambda case, temperature: temperature**-2 / case.classes)
    mean = "mean over classes too: 1/C"
    yield Row("guide (restated)", "ImageDistilTrainer", rows(), guide, hinton, "the same", hinton)
    yield Row("PKD (restated)", "distillation_loss", rows(), pkd, hinton, mean, per_class)
    yield Row(
        "neural_compressor (restated)",
        "KnowledgeDistillationLoss, KL",
        rows(),
        pkd,
        hinton,
        mean,
        per_class,
    )
    cause = f"no T²; {mean}"
    yield Row("TinyBERT (restated)", "soft_cross_entropy", rows(), tinybert, hinton, cause, neither)
    cause = "squared distance of probabilities, not a divergence; mean over classes"
    yield Row("KD_Lib (restated)", "VanillaKD", rows(), kd_lib, hinton, cause, brier)


@dataclass(frozen=True)
class Recipe:
    """A published loss with its weights, and what it says in ours.

    Attributes:
        source: Whose it is, a key of `SOURCES`.
        name: Which of theirs, with the published numbers.
        temperature: T.
        case: What it is put to.
        published: The whole loss, as its authors weigh it.
        soft: The stated weight of T² times our mean divergence.
        hard: The stated weight of our mean cross-entropy.
        standardised: Whether both sides' logits are standardised before the divergence.
    """

    source: str
    name: str
    temperature: float
    case: Case
    published: Loss
    soft: float
    hard: float
    standardised: bool = False

    @property
    def lam(self) -> float:
        """λ of ours."""
        return self.soft / (self.soft + self.hard)

    @property
    def scale(self) -> float:
        """By what our loss must be multiplied; learning rate and clipping see it, λ does not."""
        return self.soft + self.hard


def weights(recipe: Recipe) -> tuple[float, float, float]:
    """Find the weights of our two terms that give the published gradient.

    Returns:
        Weight of the soft loss, of the hard loss, and what of the gradient they leave unexplained.
    """

    def soft(case: Case, student: Tensor, temperature: float) -> Tensor:
        if not recipe.standardised:
            return hinton(case, student, temperature)
        seen = Case(case.name, student, standardize(case.teacher), case.labels)
        return hinton(seen, standardize(student), temperature)

    def hard(case: Case, student: Tensor, _: float) -> Tensor:
        return cross_entropy(case, student)

    wanted, *ours = (
        gradient(loss, recipe.case, recipe.temperature).flatten()
        for loss in (recipe.published, soft, hard)
    )
    basis = torch.stack(ours, dim=1)
    found = torch.linalg.lstsq(basis, wanted).solution
    left = (basis @ found - wanted).norm() / wanted.norm()
    return found[0].item(), found[1].item(), left.item()


def mixed(soft: Loss, on_soft: float, on_hard: float) -> Loss:
    """Return a published mixture of a soft loss and the cross-entropy."""
    return lambda case, student, temperature: (
        on_soft * soft(case, student, temperature) + on_hard * F.cross_entropy(student, case.labels)
    )


def spans(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return the loss of the SQuAD script; the first half of the rows are the starts."""
    halves = list(zip(student.chunk(2), case.teacher.chunk(2), case.labels.chunk(2), strict=True))
    soft = sum(batchmean(s, t, temperature) for s, t, _ in halves) / 2
    hard = sum(F.cross_entropy(s, label) for s, _, label in halves) / 2
    return 0.5 * soft + 0.5 * hard


def textbrewer(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return TextBrewer's `kd_ce_loss`: a cross-entropy, mean over the rows, without T²."""
    log_q = F.log_softmax(student / temperature, dim=-1)
    return -(F.softmax(case.teacher / temperature, dim=-1) * log_q).sum(dim=-1).mean()


def no_t2(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return torchdistill's `KDLoss` as its GLUE script calls it, without targets."""
    return batchmean(student, case.teacher, temperature) / temperature**2


def standardised(case: Case, student: Tensor, temperature: float) -> Tensor:
    """Return `kd_loss` with `logit_stand`."""
    first, second = (
        (z - z.mean(dim=-1, keepdim=True)) / (1e-7 + z.std(dim=-1, keepdim=True))
        for z in (student, case.teacher)
    )
    return batchmean(first, second, temperature)


def recipes() -> Iterator[Recipe]:
    """Yield the published recipes with the weights that they are said to have here."""
    two, three, many = rows(2), rows(3), rows(48)
    yield Recipe("guide", "lambda .5", 5, three, mixed(guide, 0.5, 0.5), 0.5, 0.5)
    loss = mixed(pkd, 0.7, 0.3)
    yield Recipe("PKD", "KD alone, alpha .7", 20, two, loss, 0.7 / 2, 0.3)
    yield Recipe("PKD", "KD alone, alpha .7", 20, three, loss, 0.7 / 3, 0.3)
    yield Recipe("TinyBERT", "last stage", 1, two, tinybert, 1 / 2, 0)
    yield Recipe("TinyBERT", "last stage", 1, three, tinybert, 1 / 3, 0)
    yield Recipe("SQuAD script", "alpha_ce .5, alpha_squad .5", 2, many, spans, 0.5, 0.5)
    words = "alpha_ce 5, alpha_mlm 2 (the cosine's 1 apart)"
    yield Recipe("DistilBERT", words, 2, many, mixed(guide, 5, 2), 5, 2)
    yield Recipe("TextBrewer", "defaults", 4, three, mixed(textbrewer, 1, 0), 1 / 16, 0)
    words = "defaults, but hard_label_weight 1"
    yield Recipe("TextBrewer", words, 4, three, mixed(textbrewer, 1, 1), 1 / 16, 1)
    words = "GLUE SST-2, alpha .9, but given no targets"
    yield Recipe("torchdistill", words, 3, two, no_t2, 1 / 9, 0)
    loss = mixed(standardised, 9, 1)
    yield Recipe("logit standardisation", "kd-weight 9", 2, three, loss, 9, 1, True)
