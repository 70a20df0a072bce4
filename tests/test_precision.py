"""What is said of a precision that a processor emulates."""

from __future__ import annotations

import logging

import pytest
import torch

from distill_lab.hydra_entry import compose
from distill_lab.parts import look_at

PLAIN = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("can", "trainer", "told"),
    [
        (PLAIN, "fast", True),
        (PLAIN, "default", False),
        ({**PLAIN, "avx512_bf16": True}, "fast", False),
        ({**PLAIN, "amx_bf16": True}, "fast", False),
        ({"architecture": "aarch64"}, "fast", False),  # of which torch does not say it
        (PLAIN, "gpu", True),
    ],
)
def test_emulated_bfloat16_is_told(
    can: dict[str, object],
    trainer: str,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    with caplog.at_level(logging.WARNING, "distill_lab"):
        look_at(compose(f"trainer={trainer}", "trainer.accelerator=cpu"))
    said = [r.getMessage() for r in caplog.records if "bfloat16" in r.getMessage()]
    assert said == (
        [
            "trainer.precision=bf16-mixed: this processor has no bfloat16 arithmetic, so training"
            " is slower than in float32, perhaps many times; leave out trainer=fast or trainer=gpu"
        ]
        if told
        else []
    )
