"""The lines of an exported folder's README that run it."""

from __future__ import annotations

import json

from distill_lab.export.graph import inputs_of
from distill_lab.heads import family
from distill_lab.serving.columns import read_by
from distill_lab.serving.served import Served
from distill_lab.tasks import Images, Instruction, Squad
from distill_lab.tasks.answer_rows import rendered

_OPEN = (
    "import json, numpy as np, onnxruntime, tokenizers",
    'tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")',
    'model = onnxruntime.InferenceSession("model.onnx")',
)
_ARRAYS = {
    "input_ids": "[r.ids for r in rows]",
    "attention_mask": "[r.attention_mask for r in rows]",
    "token_type_ids": "[r.type_ids for r in rows]",
}


def with_onnxruntime(served: Served) -> list[str]:
    """Return the lines that run an ONNX folder with onnxruntime, tokenizers and numpy alone."""
    task, kind = served.task, served.problem.kind
    if isinstance(task, Images):
        return _pictures(task)
    if isinstance(task, Squad):
        return _spans(served, task)
    if kind == "masked_lm":
        return _fillings(served)
    if kind == "causal_lm":
        return _continuation(served)
    pair = read_by(task)[1] is not None
    rows = (
        '[("a text", "its second text"), ("another", "and its second")]' if pair
        else '["a text", "another, longer text"]'
    )  # fmt: skip
    told = (
        "print(logits[:, 0])" if kind == "regression"
        else 'print([json.load(open("config.json"))["id2label"][str(i)] for i in logits.argmax(1)])'
    )  # fmt: skip
    return [
        *_OPEN,
        f"rows = tokenizer.encode_batch({rows})",
        f"logits = model.run(None, {_given(served)})[0]",
        told,
    ]


def with_transformers(served: Served) -> list[str]:
    """Return the lines that load a folder with transformers."""
    auto = family(served.problem).auto.__name__
    first = "import distill_lab.mlp  # only for models of the type mlp"
    lines = [first] if isinstance(served.task, Images) else []
    lines += [
        f"from transformers import {auto}" + (", AutoTokenizer" if served.tokenizer else ""),
        "",
        f'model = {auto}.from_pretrained(".", dtype="auto").eval()',
    ]
    if served.tokenizer is None:
        return [*lines, "# [batch, channels, height, width], standardised",
                "logits = model(pixel_values=pictures).logits"]  # fmt: skip
    second = "" if read_by(served.task)[1] is None else ', "its second text"'
    cut = "" if served.problem.kind == "causal_lm" else (
        f", truncation=True, max_length={served.task.max_length}"
    )  # fmt: skip
    return [
        *lines,
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        f'print(model(**tokenizer("a text"{second}, return_tensors="pt"{cut})))',
    ]


def _given(served: Served) -> str:
    assert served.tokenizer is not None
    names = inputs_of(served.model, served.problem, served.tokenizer.model_input_names)
    return "{" + ", ".join(f'"{name}": np.array({_ARRAYS[name]})' for name in names) + "}"


def _pictures(task: Images) -> list[str]:
    shape = f"[batch, {task.size[0]}, {task.size[1]}, {task.channels}]"
    return [
        "import json, numpy as np, onnxruntime",
        'model = onnxruntime.InferenceSession("model.onnx")',
        f"pixels = np.zeros((2, {task.size[0]}, {task.size[1]}, {task.channels}), np.uint8)"
        f"  # {shape}, 0 to 255",
        f"values = (pixels / np.float32(255) - np.float32({task.mean})) / np.float32({task.std})",
        'logits = model.run(None, {"pixel_values": values.transpose(0, 3, 1, 2)})[0]',
        'print([json.load(open("config.json"))["id2label"][str(i)] for i in logits.argmax(1)])',
    ]


def _spans(served: Served, task: Squad) -> list[str]:
    return [
        *_OPEN,
        'question, paragraph = "Who wrote it?", "Ann wrote it in May."',
        "rows = [tokenizer.encode(question, paragraph)]",
        f"start, end = model.run(None, {_given(served)})",
        "inside = np.array(rows[0].sequence_ids) == 1",
        "sums = np.where(inside[:, None] & inside, start[0][:, None] + end[0], -np.inf)",
        "near = np.triu(np.ones_like(sums)) - np.triu(np.ones_like(sums),"
        f" {task.max_answer})  # of at most {task.max_answer} tokens",
        "first, last = divmod(np.where(near, sums, -np.inf).argmax(), len(sums))",
        "print(paragraph[rows[0].offsets[first][0] : rows[0].offsets[last][1]])",
    ]


def _fillings(served: Served) -> list[str]:
    assert served.tokenizer is not None
    mask = str(served.tokenizer.mask_token)
    return [
        *_OPEN,
        f"rows = tokenizer.encode_batch([{json.dumps('a ' + mask + ' text')}])",
        f"logits = model.run(None, {_given(served)})[0]",
        f"hidden = np.array(rows[0].ids) == tokenizer.token_to_id({json.dumps(mask)})",
        "print(tokenizer.decode(logits[0][hidden].argmax(1).tolist()))",
    ]


def _continuation(served: Served) -> list[str]:
    assert served.tokenizer is not None
    told, most = "Once upon a time", 40
    if isinstance(served.task, Instruction):
        told, most = rendered([("user", "a prompt")], served.tokenizer), served.task.max_new_tokens
    names = inputs_of(served.model, served.problem, [])
    given = ", ".join(
        f'"{name}": np.array([ids])'
        if name == "input_ids"
        else f'"{name}": np.ones((1, len(ids)), np.int64)'
        for name in names
    )
    return [
        *_OPEN,
        f"start = tokenizer.encode({json.dumps(told)}, add_special_tokens=False).ids",
        "ids = list(start)",
        f"while len(ids) < len(start) + {most} and ids[-1] != {served.tokenizer.eos_token_id}:",
        f"    ids.append(int(model.run(None, {{{given}}})[0][0, -1].argmax()))",
        "print(tokenizer.decode(ids[len(start):]))",
    ]
