"""README.md of an exported folder: what it is, how it was checked, how it is run."""

from __future__ import annotations

from distill_lab.export.parity import Bounds, Parity
from distill_lab.export.snippets import with_onnxruntime, with_transformers
from distill_lab.serving.served import Served

_FORMS = {
    "onnx": "ONNX, float32; number and length of rows are free",
    "onnx-int8": "ONNX, number and length of rows are free; the weights of linear layers are int8,"
    " one scale for each output channel, and of most students the embeddings; activations are"
    " rounded to 8 bits as they come; norms are float32",
    "int8": "safetensors of torchao: the weights of linear layers are int8, one scale for each"
    " output channel, activations are rounded to 8 bits as they come, one scale for each token",
}
_NEEDS = {
    "onnx": "onnxruntime tokenizers numpy",
    "onnx-int8": "onnxruntime tokenizers numpy",
    "int8": "transformers torch torchao",
    "safetensors": "transformers torch",
}


def readme(served: Served, form: str, dtype: str, bounds: Bounds, parity: Parity | None) -> str:
    """Return the README in markdown.

    Args:
        served: The student.
        form: Of the folder.
        dtype: Of the weights, for safetensors.
        bounds: How far it may differ.
        parity: How far it does; None where nobody has looked.
    """
    onnx = form.startswith("onnx")
    lines = with_onnxruntime(served) if onnx else with_transformers(served)
    asked = "TEXT" if served.tokenizer else "PICTURE"
    causal = onnx and served.problem.kind == "causal_lm"
    return "\n".join([
        f"# Student for {served.result.task}",
        "",
        f"{_FORMS.get(form, f'safetensors, {dtype}')}. Exported by distill-lab from the run"
        f" `{served.result.folder}`, whose result stands in `run.json`.",
        *(["", "The graph gives the logits of all places and keeps no keys and values: each new"
           " word costs a pass over all that stands before it."] if causal else []),
        "",
        "## Run it",
        "",
        f"In this folder, with `pip install {_NEEDS[form]}` and nothing else:",
        "",
        "```python",
        *lines,
        "```",
        "",
        *(_long(served) if onnx else []),
        f"Or with distill-lab: `distill-lab predict FOLDER {asked}`.",
        "",
        "## How it was checked",
        "",
        *(_checked(parity, bounds) if parity else _UNCHECKED),
        "",
    ])  # fmt: skip


_UNCHECKED = (
    "**Unchecked**: nobody has held it against the student (`--unchecked`). Do so before it is"
    " relied on.",
)


def _long(served: Served) -> list[str]:
    if served.tokenizer is None:
        return []
    if served.problem.kind == "spans":
        return [
            f"A paragraph is cut at {served.task.max_length} tokens here; `distill-lab predict`"
            " reads long ones in several windows.", "",
        ]  # fmt: skip
    if served.problem.kind == "causal_lm":
        return []
    return [
        f"`tokenizer.json` cuts rows at {served.task.max_length} tokens, as in training, and pads"
        " them to the longest of a batch.", "",
    ]  # fmt: skip


def _checked(parity: Parity, bounds: Bounds) -> list[str]:
    return [
        f"Both the student and this form have answered {parity.count:,} rows ({parity.rows}).",
        "",
        "| | found | bound |",
        "|---|---|---|",
        *(f"| {name} | {found} | {bound} |" for name, found, bound in rows_of(parity, bounds)),
    ]


def rows_of(parity: Parity, bounds: Bounds) -> list[tuple[str, str, str]]:
    """Return the figures of a comparison with their bounds, for people.

    Args:
        parity: How a form compares with the student.
        bounds: How far it may differ.
    """
    rows = [
        (
            "largest difference of two logits",
            f"{parity.largest_difference:.3g}",
            f"{bounds.difference:g}",
        ),
        ("mean difference", f"{parity.mean_difference:.3g}", ""),
    ]
    if parity.agreement is not None:
        rows.append(("same answers", f"{parity.agreement:.2%}", f"{bounds.agreement:.2%}"))
    if parity.correlation is not None:
        bound = f"{bounds.agreement:.4f}"
        rows.append(("correlation of the answers", f"{parity.correlation:.4f}", bound))
    if parity.before is not None and parity.after is not None:
        before, after = (f"{value:.4f}" for value in (parity.before, parity.after))
        rows.append((f"{parity.metric}, student", before, ""))
        rows.append((f"{parity.metric}, this form", after, ""))
    return rows
