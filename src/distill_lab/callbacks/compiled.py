"""The network that is trained, compiled by torch."""

from __future__ import annotations

import pytorch_lightning as pl

from distill_lab.modules.base import TrainedModel


class Compiled(pl.Callback):
    """Compiles the network in place, so that its weights keep their names.

    Args:
        dynamic: Whether one compilation serves all lengths; None lets torch find out.
        mode: What torch's compiler aims at, see `torch.compile`.
        backend: Which compiler, see `torch.compiler.list_backends`.
    """

    def __init__(
        self, *, dynamic: bool | None = True, mode: str | None = None, backend: str = "inductor"
    ) -> None:
        self.dynamic = dynamic
        self.mode = mode
        self.backend = backend

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compile when training begins."""
        if isinstance(pl_module, TrainedModel):
            pl_module.model.compile(dynamic=self.dynamic, mode=self.mode, backend=self.backend)
