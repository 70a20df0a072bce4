"""A teacher of whom only the largest logits are kept: files, settings, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill_lab.config import build, conf_dir
from distill_lab.errors import ConfigError
from distill_lab.hydra_entry import compose
from distill_lab.objectives import Objective
from distill_lab.tasks.tokens import TokenRows
from distill_lab.teachers.caching import Caching
from distill_lab.teachers.signal_files import SignalFiles, SignalWriter
from distill_lab.teachers.top_k import settled
from distill_lab.top_logits import TopK, top_logits
from distill_lab.types import Outputs, Problem, Wanted
from tests.teachers.test_cached import rows


def stored(folder: Path, given: TokenRows, logits: torch.Tensor, top: TopK) -> SignalFiles:
    writer = SignalWriter(folder, Wanted(), torch.float32)
    for places in (range(0, 3), range(3, len(given))):
        batch = given.__getitems__(places)
        part = logits[list(places)]
        writer.add(batch, Outputs(part[:, :0], top=top_logits(part, top)))
        writer.flush()
    return SignalFiles(folder)


@pytest.mark.parametrize(("classes", "dtype"), [(2**15, torch.int16), (2**15 + 1, torch.int32)])
def test_files_give_back_what_they_were_given(
    classes: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    given, top = rows(8), TopK(3, (1.0, 2.5))
    logits = torch.randn(8, classes, generator=torch.Generator().manual_seed(0))
    logits[0, classes - 1] = 10  # the last class is among the largest
    files = stored(tmp_path, given, logits, top)
    assert load_file(tmp_path / "00000.safetensors")["top.indices"].dtype == dtype
    order = [5, 0, 7, 2]
    found = files.signals(given.__getitems__(order), Wanted())
    expected = top_logits(logits[order], top)
    assert found.top is not None and found.logits.shape == (4, 0)
    assert torch.equal(found.top.values, expected.values)
    assert torch.equal(found.top.indices, expected.indices)
    assert found.top.classes == classes
    for t in top.temperatures:
        assert torch.equal(found.top.rest[t], expected.rest[t])


def every(name: str) -> Objective:
    made: Objective = build(compose(f"objective={name}").objective)
    return made


ALL_LOGITS = {"mse_logits", "dkd", "dist", "logit_standardized"}


@pytest.mark.parametrize("name", sorted(p.stem for p in (conf_dir() / "objective").glob("*.yaml")))
def test_objectives_that_need_all_logits_are_refused(name: str) -> None:
    problem = Problem("classification", tuple("abcdefgh"))
    if name in ALL_LOGITS:
        with pytest.raises(ConfigError, match=f"cache_top_k=2: objective={name} needs all logits"):
            settled(Caching(top_k=2), every(name), problem, {})
    else:
        assert settled(Caching(top_k=2), every(name), problem, {}) is not None
    assert settled(Caching(), every(name), problem, {}) is None


def test_an_objective_of_somebody_else_needs_all_logits_unless_it_says_so() -> None:
    class Own(Objective):
        def forward(self, *_: Any) -> Any: ...

    problem = Problem("classification", tuple("abc"))
    with pytest.raises(ConfigError, match="the objective Own needs all logits"):
        settled(Caching(top_k=2), Own(), problem, {})


def test_temperatures_are_those_of_the_parts_or_the_chosen_ones() -> None:
    problem = Problem("classification", tuple("abc"))
    assert settled(Caching(top_k=2), every("combine"), problem, {}) == TopK(2, (4.0,))
    assert settled(Caching(top_k=2), every("hidden"), problem, {}) == TopK(2, ())
    chosen = Caching(top_k=2, temperatures=[4, 1])
    assert settled(chosen, every("hinton"), problem, {}) == TopK(2, (1.0, 4.0))
    changing = {"mine": {"temperature_schedule": "linear"}}
    with pytest.raises(ConfigError, match=r"callbacks\.mine\.temperature_schedule=linear"):
        settled(chosen, every("hinton"), problem, changing)
    assert settled(chosen, every("hidden"), problem, changing) == TopK(2, (1.0, 4.0))


def test_a_regression_is_refused() -> None:
    problem = Problem("regression", ("score",))
    with pytest.raises(ConfigError, match="cache_top_k=1: a regression has one number"):
        settled(Caching(top_k=1), every("hinton"), problem, {})
