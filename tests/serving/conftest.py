"""Finished runs, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.runs import make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Callable[[str], Path]:
    """Return the folder of a finished run of a kind, see `runs.KINDS`."""
    place, made = tmp_path_factory.mktemp("finished"), dict[str, Path]()

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = make(kind, place / kind, encoder)
        return made[kind]

    return of
