"""The student as others load it: a transformers folder with its tokeniser and a model card."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.new_models import longest_input
from distill_lab.results import Result


def save_student(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, result: Result
) -> None:
    """Write a folder that `transformers.pipeline` loads as it is.

    Its tokeniser cuts, where it is asked to, what is longer than the student takes; one that comes
    from a teacher may allow for more.

    Args:
        folder: Where to write.
        model: The trained student.
        tokenizer: Its tokeniser.
        result: What the card reports.
    """
    model.save_pretrained(folder)
    own = copy.deepcopy(tokenizer)
    longest = longest_input(
        model.config, getattr(model.config, "max_position_embeddings", None) or 0
    )
    own.model_max_length = min(own.model_max_length, longest or own.model_max_length)
    own.save_pretrained(folder)
    (folder / "README.md").write_text(card(result), encoding="utf-8")


def card(result: Result) -> str:
    """Return the model card in markdown."""
    names = list(result.metrics["student"])
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
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
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'classify = pipeline("text-classification", model="student")',
        'print(classify("a text", truncation=True))',
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
