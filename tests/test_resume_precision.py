"""Trainings in half precision go on to the same bits, the gradient scaler included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill_lab.modules import Distillation
from distill_lab.progress_files import FOLDER
from tests.test_resume import Ends, here, same

SCALED = [
    "+trainer.plugins={_target_: pytorch_lightning.plugins.MixedPrecision, precision: 16-mixed,"
    " device: cpu, scaler: {_target_: torch.amp.GradScaler, device: cpu, growth_interval: 7}}",
    "trainer.precision=null",
]


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(["trainer.precision=bf16-mixed"], id="bf16-mixed"),
        pytest.param(["trainer.precision=bf16-true"], id="bf16-true"),
        pytest.param(SCALED, id="16-mixed"),
    ],
)
def test_half_precision_goes_on_to_the_same_bits(
    precision: list[str], encoder: Path, rows_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here(encoder, rows_file, tmp_path / "whole", *precision)
    with monkeypatch.context() as patch:
        Ends(patch).hard(Distillation, 41)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            here(encoder, rows_file, tmp_path / "ended", *precision)
    kept = max((tmp_path / "ended" / "run" / FOLDER).glob("*.ckpt"))
    scaler = torch.load(kept, weights_only=True).get("MixedPrecision")
    assert scaler is None or scaler["scale"] > 65536  # it has grown
    here(encoder, rows_file, tmp_path / "ended", *precision)
    same(tmp_path / "whole", tmp_path / "ended")
