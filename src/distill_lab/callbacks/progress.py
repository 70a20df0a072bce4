"""A progress bar where somebody watches, nothing where a file does."""

from __future__ import annotations

import sys

from pytorch_lightning.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Lightning's rich progress bar; switched off when the output is no terminal."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10 if sys.stdout.isatty() else 0, leave=False)
