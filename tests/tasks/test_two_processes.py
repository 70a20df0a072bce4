"""Whatever an answer is, two processes end as one that accumulates, kept signals or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill_lab.results import Result
from tests.conftest import sentences
from tests.tasks.squad_files import folder
from tests.tasks.test_images import drawn, write_idx
from tests.tasks.test_language import text
from tests.test_ranks import TWO, train, weights

STILL = "num_hidden_layers:2,hidden_size:32,num_attention_heads:2,intermediate_size:64"
BERT = f"{{model_type:bert,{STILL},hidden_dropout_prob:0,attention_probs_dropout_prob:0}}"
GPT = "{model_type:gpt2,n_layer:2,n_embd:32,n_head:2,embd_pdrop:0,attn_pdrop:0,resid_pdrop:0}"
MLP = "{model_type:mlp,hidden_sizes:[16]}"


def lines(kind: str, place: Path, encoder: Path) -> list[str]:
    """Overrides of a task with a new student that drops nothing out."""
    if kind == "squad":
        data = folder(place / "squad")
        return [
            "task=squad", f"task.data_dir={data}", "task.max_length=32", "task.stride=8",
            "task.max_question=8", "task.files={train: train.json, evaluation: dev.json}",
            f"teacher.model={encoder}", f"student.sizes={BERT}",
        ]  # fmt: skip
    if kind == "mnist":
        pictures = drawn(300, 0)
        images = write_idx(place / "images.gz", pictures.pixels[..., 0])
        labels = write_idx(place / "labels.gz", pictures.labels)
        pair = f"[{images.name},{labels.name}]"
        return [
            "task=mnist", f"task.data_dir={place}",
            f"task.files={{train:{pair},evaluation:{pair}}}",
            "task.size=[8,8]", "task.jitter=1", 'task.left_out=["3"]', "teacher=mlp",
            'task.labels=["0","1","2","3"]', "teacher.scratch.hidden_sizes=[16]",
            "~student.sizes", f"+student.sizes={MLP}",
        ]  # fmt: skip
    if kind == "domain":
        for name, seed in (("films", 0), ("products", 1)):
            sentences(200, seed).to_csv(place / f"{name}.csv", index=False)
        return [
            "task=domain", "~task.source", f"task.target_file={place}/products.csv",
            "task.transfer=both", "+task.source={_target_: distill_lab.tasks.TextFiles,"
            f" train_file: {place}/films.csv, text: text, label: label, metrics: [accuracy],"
            " max_length: 32}", f"teacher.model={encoder}", f"student.sizes={BERT}",
        ]  # fmt: skip
    for name, seed in (("train", 1), ("test", 2)):
        (place / f"{name}.txt").write_text(text(200 // seed, seed))
    given = [
        f"task={kind}", f"task.train={place}/train.txt", f"task.evaluation={place}/test.txt",
        "task.max_length=32", "task.selection=0.1",
    ]  # fmt: skip
    if kind == "masked_lm":
        return [*given, f"teacher.model={encoder}", f"student.sizes={BERT}"]
    return [
        *given, "teacher=new_gpt2", "teacher.scratch.n_layer=2", "teacher.scratch.n_embd=32",
        "teacher.scratch.n_head=2", "teacher.vocab_size=300", "~student.sizes",
        f"+student.sizes={GPT}",
    ]  # fmt: skip


# With an odd number of batches the processes divide the last ones, in steps of their own.
BATCH = {"squad": 7, "causal_lm": 8, "masked_lm": 7, "mnist": 8, "domain": 9}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BATCH)
def test_two_processes_end_as_one_that_accumulates(
    kind: str, encoder: Path, tmp_path: Path
) -> None:
    line = [
        "student=scratch", *lines(kind, tmp_path, encoder), "teacher.epochs=1",
        "teacher.min_over_chance=-1", f"optim.batch_size={BATCH[kind]}", "optim.lr=1e-2",
        "optim.eps=1e-2",  # else AdamW makes last bits grow where a gradient is near 0
        "trainer.max_epochs=1", "trainer.accelerator=cpu", "baseline=false",
    ]  # fmt: skip
    alone = train(tmp_path, *line, "trainer.accumulate_grad_batches=2")
    teacher = next((tmp_path / "store" / "teachers").glob("*/config.json")).parent
    two = train(tmp_path, *line, f"teacher.model={teacher}", *TWO)
    expected, found = weights(alone), weights(two)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=2e-4)
    one, both = (Result.read(run / "result.json") for run in (alone, two))
    assert both.cost["student"]["selection"] == pytest.approx(
        one.cost["student"]["selection"], rel=0.02
    )
    assert both.metrics["student"] == pytest.approx(one.metrics["student"], rel=0.02, abs=0.02)
