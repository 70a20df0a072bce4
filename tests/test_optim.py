"""The optimizer under Lightning's precisions."""

import pytest


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_in_every_precision(lab, precision):
    result = lab(f"trainer.precision={precision}", "trainer.max_steps=2", "baseline=false")
    assert result.config["trainer"]["gradient_clip_val"] == 1.0
    assert result.cost["student"]["examples"] > 0
