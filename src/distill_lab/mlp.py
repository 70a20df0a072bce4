"""Fully connected networks for images, as in the first paper on distillation.

Known to transformers by the model type "mlp" once this package is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

_KIND = "mlp"


class MLPConfig(PretrainedConfig):
    """Sizes of a fully connected network.

    Args:
        hidden_sizes: Units of each hidden layer.
        image_size: Height and width of the images, or one number for both.
        num_channels: Colours.
        input_dropout: Share of the pixels that are dropped in training.
        hidden_dropout: Share of the units of each hidden layer that are.
    """

    model_type = _KIND

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (800, 800),
        image_size: int | Sequence[int] = 28,
        num_channels: int = 1,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        **more: Any,
    ) -> None:
        self.hidden_sizes = list(hidden_sizes)
        self.image_size = image_size if isinstance(image_size, int) else list(image_size)
        self.num_channels = num_channels
        self.input_dropout = input_dropout
        self.hidden_dropout = hidden_dropout
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes={self.hidden_sizes}: at least one layer of units")
        if not (0 <= input_dropout < 1 and 0 <= hidden_dropout < 1):
            raise ValueError(f"dropout={input_dropout}, {hidden_dropout}: shares, 0 to below 1")
        super().__init__(**more)

    @property
    def num_hidden_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.hidden_sizes)

    @property
    def num_pixels(self) -> int:
        """Numbers of an image."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(height * width * self.num_channels)


class MLPForImageClassification(PreTrainedModel):
    """Rectified layers and a linear one: Hinton et al. 2015 (arXiv 1503.02531), section 3.

    Args:
        config: Its sizes.
    """

    config_class = MLPConfig
    config: MLPConfig
    base_model_prefix = "layers"
    main_input_name = "pixel_values"

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        sizes = [config.num_pixels, *config.hidden_sizes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.classifier = nn.Linear(sizes[-1], int(config.num_labels or 0))
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Draw weights as He et al. 2015 do for rectified units."""
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)

    def forward(self, pixel_values: Tensor, **unused: Any) -> ImageClassifierOutput:
        """Return the logits.

        Args:
            pixel_values: `[batch, channels, height, width]`.
            **unused: What other models take.
        """
        states = F.dropout(pixel_values.flatten(1), self.config.input_dropout, self.training)
        for layer in self.layers:
            states = F.dropout(layer(states).relu(), self.config.hidden_dropout, self.training)
        return ImageClassifierOutput(logits=self.classifier(states))


AutoConfig.register(_KIND, MLPConfig)
AutoModelForImageClassification.register(MLPConfig, MLPForImageClassification)
