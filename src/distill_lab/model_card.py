"""The student as others load it: a transformers folder with its tokeniser and a model card."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.heads import family
from distill_lab.new_models import longest_input
from distill_lab.results import Result
from distill_lab.types import Problem

_CLASSES = (
    "from transformers import pipeline",
    "",
    'classify = pipeline("text-classification", model="student")',
    'print(classify("a text", truncation=True))',
)
_MASKED = (
    "from transformers import pipeline",
    "",
    'fill = pipeline("fill-mask", model="student")',
    'print(fill(f"a {fill.tokenizer.mask_token} text"))',
)
_CAUSAL = (
    "from transformers import pipeline",
    "",
    'write = pipeline("text-generation", model="student")',
    'print(write("Once upon a time", max_new_tokens=20))',
)
_IMAGES = (
    "import distill_lab.mlp  # only for models of the type mlp",
    "from transformers import AutoModelForImageClassification",
    "",
    'model = AutoModelForImageClassification.from_pretrained("student")',
    "# [batch, channels, height, width], standardised by task.mean and task.std of config.yaml",
    "logits = model(pixel_values=pictures).logits",
)
_SPANS = (
    "from transformers import AutoModelForQuestionAnswering, AutoTokenizer",
    "",
    'tokenizer = AutoTokenizer.from_pretrained("student")',
    'model = AutoModelForQuestionAnswering.from_pretrained("student")',
    'question, paragraph = "Who wrote it?", "Ann wrote it in May."',
    'tokens = tokenizer(question, paragraph, return_tensors="pt", truncation="only_second")',
    "answer = model(**tokens)",
    "start, end = answer.start_logits.argmax(), answer.end_logits.argmax()",
    'print(tokenizer.decode(tokens["input_ids"][0, start : end + 1]))',
)
_USES: dict[str, tuple[str, ...]] = {
    "images": _IMAGES,
    "spans": _SPANS,
    "causal_lm": _CAUSAL,
    "masked_lm": _MASKED,
}

_INT8 = (
    "Trained for int8: the figures of student and baseline are those of their int8 form, whose"
    " linear layers have int8 weights (symmetric, one scale an output channel) and uint8 inputs"
    " (range of the whole tensor, at run time). This folder holds the float weights;"
    " `distill-lab export RUN --to onnx-int8` rounds them.",
    "",
)


def save_student(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    result: Result,
    problem: Problem,
) -> None:
    """Write a folder that transformers loads as it is.

    Its tokeniser cuts, where it is asked to, what is longer than the student takes; one that comes
    from a teacher may allow for more.

    Args:
        folder: Where to write.
        model: The trained student.
        tokenizer: Its tokeniser.
        result: What the card reports.
        problem: What the student answers.
    """
    model.save_pretrained(folder)
    if tokenizer is not None:
        _save_tokenizer(folder, model, tokenizer)
    (folder / "README.md").write_text(card(result, problem), encoding="utf-8")


def _save_tokenizer(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    own = copy.deepcopy(tokenizer)
    longest = longest_input(
        model.config, getattr(model.config, "max_position_embeddings", None) or 0
    )
    own.model_max_length = min(own.model_max_length, longest or own.model_max_length)
    own.save_pretrained(folder)


def card(result: Result, problem: Problem) -> str:
    """Return the model card in markdown."""
    names = list(result.metrics["student"])
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {family(problem).card}",
        "tags: [distillation, distill_lab]",
        "---",
        "",
        f"# Student for {result.task}",
        "",
        f"Distilled from the teacher `{result.choices.get('teacher_name', '')}` with the objective"
        f" `{result.choices.get('objective', 'given in the configuration')}`, seed {result.seed}.",
        "",
        f"Evaluation split, {result.rows['evaluation']:,} rows, one run; the baseline is the same"
        " student trained without the teacher:",
        "",
        "| model | " + " | ".join(names) + " | parameters |",
        "|---|" + "---|" * (len(names) + 1),
        *(
            f"| {model} | "
            + " | ".join(f"{result.metrics[model][name]:.4f}" for name in names)
            + f" | {result.parameters(model):,} |"
            for model in result.metrics
        ),
        "",
        *(_INT8 if "int8_bytes" in result.cost.get("student", {}) else ()),
        "## Use",
        "",
        "```python",
        *_USES.get("images" if problem.reads == "images" else problem.kind, _CLASSES),
        "```",
        "",
        "## How it was made",
        "",
        "```",
        "distill-lab train " + " ".join(result.overrides),
        "```",
        "",
        ", ".join(f"{name} {version}" for name, version in result.versions.items()) + ".",
        "Fingerprints: " + ", ".join(f"{k} `{v}`" for k, v in result.fingerprints.items()) + ".",
        "",
    ]
    return "\n".join(lines)
