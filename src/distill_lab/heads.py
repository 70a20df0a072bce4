"""Which transformers class answers which problem, and with which head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

import distill_lab.mlp  # noqa: F401 - makes itself known to transformers
from distill_lab.types import Kind, Problem


@dataclass(frozen=True)
class Family:
    """The transformers classes that answer one kind of problem.

    Attributes:
        auto: Builds or loads one.
        mapping: From the type of a configuration to its class.
        endings: How the names of these classes end.
        card: What the hub calls such a model.
    """

    auto: Any
    mapping: Any
    endings: tuple[str, ...]
    card: str


_CLASSIFIERS = Family(
    AutoModelForSequenceClassification,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    ("ForSequenceClassification",),
    "text-classification",
)
_FAMILIES: dict[Kind, Family] = {
    "classification": _CLASSIFIERS,
    "regression": _CLASSIFIERS,
    "spans": Family(
        AutoModelForQuestionAnswering,
        MODEL_FOR_QUESTION_ANSWERING_MAPPING,
        ("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
        "question-answering",
    ),
    "causal_lm": Family(
        AutoModelForCausalLM,
        MODEL_FOR_CAUSAL_LM_MAPPING,
        ("LMHeadModel", "ForCausalLM"),
        "text-generation",
    ),
    "masked_lm": Family(
        AutoModelForMaskedLM, MODEL_FOR_MASKED_LM_MAPPING, ("ForMaskedLM",), "fill-mask"
    ),
}


_IMAGES = Family(
    AutoModelForImageClassification,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    ("ForImageClassification",),
    "image-classification",
)


def family(problem: Problem) -> Family:
    """Return the classes that answer a problem."""
    return _IMAGES if problem.reads == "images" else _FAMILIES[problem.kind]


def new_network(config: PretrainedConfig, problem: Problem) -> PreTrainedModel:
    """Build a model with a head for the problem and random weights.

    Raises:
        ValueError: If the architecture has none.
    """
    model: PreTrainedModel = family(problem).auto.from_config(config)
    return model


def model_class(config: PretrainedConfig, problem: Problem) -> type[PreTrainedModel] | None:
    """Return the class of models that answer a problem, None if the architecture has none."""
    found: Any = family(problem).mapping.get(type(config), None)
    return found  # type: ignore[no-any-return]


def has_head(config: PretrainedConfig, problem: Problem) -> bool:
    """Whether a checkpoint is that of a model for such problems, rather than of an encoder."""
    endings = family(problem).endings
    return any(name.endswith(endings) for name in config.architectures or [])


def head(problem: Problem) -> dict[str, Any]:
    """Return the configuration entries of a head for the problem."""
    if not problem.has_labels:
        return {"num_labels": problem.num_labels} if problem.kind == "spans" else {}
    names = dict(enumerate(problem.labels))
    return {
        "num_labels": problem.num_labels,
        "id2label": names,
        "label2id": {label: index for index, label in names.items()},
        "problem_type": (
            "regression" if problem.kind == "regression" else "single_label_classification"
        ),
    }


def described(config: PretrainedConfig) -> str:
    """Return an architecture and its depth, for people."""
    layers = getattr(config, "num_hidden_layers", None)
    return f"{config.model_type}" if layers is None else f"{layers} layers of {config.model_type}"
