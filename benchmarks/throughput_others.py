"""Distillation of the same models by transformers' Trainer and by TextBrewer."""

from __future__ import annotations

import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedModel, TrainerCallback, get_scheduler

from benchmarks.scene import Scene
from benchmarks.timing import Stopwatch
from distill_lab.tasks.tokens import TokenRows

TEMPERATURE, LAM, PADDED = 4.0, 0.5, 128
Row = dict[str, Any]


def installed(package: str) -> bool:
    """Whether a distribution is installed."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def encoded(one: TokenRows, rows: int) -> list[Row]:
    """Return the first rows as both packages take them, tokenised beforehand."""
    found = []
    for at in range(min(rows, len(one))):
        cut = slice(one.offsets[at], one.offsets[at + 1])
        row = {name: values[cut].tolist() for name, values in one.columns.items()}
        found.append({**row, "labels": int(one.labels[at])})
    return found


def trainer(
    scene: Scene,
    student: PreTrainedModel,
    rows: int,
    batch_size: int = 32,
    bf16: bool = False,
    whole: bool = False,
) -> Stopwatch:
    """Distil by transformers' Trainer with the loss that its guides write and a live teacher.

    Args:
        scene: Rows and models.
        student: Is trained.
        rows: Training rows.
        batch_size: Of training.
        bf16: Whether both models compute in bfloat16.
        whole: Whether the student is also scored on the selection split and the reported rows, in
            batches of 128, and saved, as every job of a sweep does. With this loss the Trainer
            asks the teacher there, too.
    """
    hf: Any = import_module("transformers")
    watch = scene.stopwatch()
    teacher = scene.model(scene.teacher).eval().to(scene.device)
    on_cpu = scene.device.type == "cpu"

    class Distiller(hf.Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any
        ) -> Any:
            answer = model(**inputs)
            half = torch.autocast(scene.device.type, torch.bfloat16, enabled=bf16)
            with torch.no_grad(), half:
                wanted = teacher(**inputs).logits
            soft = F.kl_div(
                F.log_softmax(answer.logits / TEMPERATURE, dim=-1),
                F.softmax(wanted / TEMPERATURE, dim=-1),
                reduction="batchmean",
            )
            loss = (1 - LAM) * answer.loss + LAM * TEMPERATURE**2 * soft
            return (loss, answer) if return_outputs else loss

    class Ticks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.step(args.per_device_train_batch_size)
            if state.global_step == state.max_steps:
                watch.stop()

    with tempfile.TemporaryDirectory() as out:
        settings = hf.TrainingArguments(
            out, per_device_train_batch_size=batch_size, num_train_epochs=1, learning_rate=5e-5,
            weight_decay=0.01, warmup_steps=0.1, max_grad_norm=1.0, lr_scheduler_type="linear",
            save_strategy="no", report_to=[], use_cpu=on_cpu, disable_tqdm=True,
            bf16=bf16, dataloader_pin_memory=not on_cpu, dataloader_drop_last=True,
            dataloader_num_workers=0 if on_cpu else 4, per_device_eval_batch_size=128,
        )  # fmt: skip
        distiller = Distiller(
            model=student, args=settings, train_dataset=encoded(scene.data.train, rows),
            data_collator=DataCollatorWithPadding(scene.data.tokenizer), callbacks=[Ticks()],
        )  # fmt: skip
        distiller.train()
        if whole:
            for part in (scene.data.selection, *scene.data.evaluation.values()):
                distiller.predict(encoded(part, len(part)))
            distiller.save_model(out)
    return watch


def textbrewer(scene: Scene, student: PreTrainedModel, rows: int) -> Stopwatch:
    """Distil by TextBrewer's GeneralDistiller as its examples do, padded to 128 tokens."""
    package: Any = import_module("textbrewer")
    watch = scene.stopwatch()
    batches = _padded(scene, encoded(scene.data.train, rows))
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5, fused=True)
    steps = len(batches)
    scheduler = get_scheduler("linear", optimizer, round(0.1 * steps), steps)

    def adaptor(batch: Any, answer: Any) -> Row:
        return {"logits": answer.logits, "losses": answer.loss}

    def tick(batch: Any) -> Any:
        watch.step(len(batch["labels"]))  # the end of the step before
        return dict(batch)  # it takes no other mapping

    with tempfile.TemporaryDirectory() as out:
        distiller = package.GeneralDistiller(
            package.TrainingConfig(device="cpu", output_dir=out, log_dir=str(Path(out) / "log")),
            package.DistillationConfig(
                temperature=TEMPERATURE, hard_label_weight=1 - LAM, kd_loss_weight=LAM
            ),
            scene.model(scene.teacher).eval(), student.train(), adaptor, adaptor,
        )  # fmt: skip
        with distiller:
            distiller.train(
                optimizer, batches, num_epochs=1, scheduler=scheduler, max_grad_norm=1.0,
                batch_postprocessor=tick,
            )  # fmt: skip
    return watch


def _padded(scene: Scene, rows: list[Row]) -> DataLoader[Row]:
    collate = DataCollatorWithPadding(scene.data.tokenizer, padding="max_length", max_length=PADDED)
    return DataLoader(rows, batch_size=32, shuffle=True, drop_last=True, collate_fn=collate)  # type: ignore[arg-type]
