"""Libraries that talk too much, asked to be brief."""

from __future__ import annotations

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Leave warnings and errors of the libraries; their news and bars go."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.raiseExceptions = False  # a full disk is told once, not for every line of the log
    # Of a cluster's login node, where a sweep is typed without srun.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    quiet_torchao()
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in ("httpx", "fsspec", "filelock", "urllib3", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.WARNING)


def quiet_torchao() -> None:
    """Leave out what torchao says of kernels for other processors when it is imported.

    transformers imports it wherever it is installed, so this comes before; it imports nothing.
    """
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
