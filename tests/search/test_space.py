"""Hydra's overrides as a search space."""

from __future__ import annotations

from collections.abc import Iterator

import hydra
import optuna
import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from distill_lab.config import conf_dir
from distill_lab.errors import ConfigError
from distill_lab.search.space import Axis, parse_space


@pytest.fixture(scope="module")
def loader() -> Iterator[ConfigLoader]:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("optim.lr=interval(1,8)", Float(1, 8)),
        ("optim.lr=int(interval(1,8))", Int(1, 8)),
        ("optim.lr=tag(log,interval(1e-5,1e-3))", Float(1e-5, 1e-3, log=True)),
        ("optim.lr=tag(log,int(interval(8,64)))", Int(8, 64, log=True)),
        ("optim.lr=range(0,1,step=0.25)", Float(0, 0.75, step=0.25)),
        ("optim.lr=range(0.5,2.0,0.5)", Float(0.5, 1.5, step=0.5)),
        ("optim.lr=range(0.0,1.0)", Float(0, 1)),
        ("optim.lr=tag(log,range(0.5,2.0))", Float(0.5, 2, log=True)),
        ("optim.lr=range(1,8)", Int(1, 7)),
        ("optim.lr=range(2,13,5)", Int(2, 12, step=5)),
        ("optim.lr=range(8,1,-1)", Int(2, 8)),
        ("optim.lr=tag(log,range(1,9))", Int(1, 8, log=True)),
        ("optim.lr=shuffle(range(1,5))", Int(1, 4)),
        ("optim.lr=1,2.5,2.5", Choice(["1", "2.5"])),
        ("optim.lr=null,true,'a,b'", Choice(["null", "True", "'a,b'"])),
        ("student.select=[0,1],uniform", Choice(["[0,1]", "uniform"])),
        ("student=glob(layers_*)", Choice(["layers_12", "layers_3", "layers_6"])),
        ("student=glob(layers_*,exclude=*_3)", Choice(["layers_12", "layers_6"])),
    ],
)
def test_axes(
    typed: str, expected: optuna.distributions.BaseDistribution, loader: ConfigLoader
) -> None:
    (axis,) = parse_space([typed], loader).axes
    assert axis.distribution == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("seed=1,2,3", r"hydra\.sweeper\.seeds=\[1,2,3\]"),
        ("task=glue/rte,glue/cola", "in its own study"),
        ("study=a,b", "in one study"),
        ("optim.lr=interval(2,1)", "2.0 is not below 1.0"),
        ("optim.lr=range(3,3)", "the range is empty"),
        ("optim.lr=range(0,1e9,step=1e-3)", "too many values"),
        ("optim.lr=tag(log,interval(0,1))", "above 0"),
        ("optim.lr=tag(log,range(1,9,2))", "a range with a step is not searched by its logarithm"),
        ("optim.lr=tag(lgo,interval(1,2))", "there is no tag lgo"),
        ("optim.lr=tag(log,choice(1,2))", "log is for intervals"),
        ("student=glob(nothing*)", "no choice fits"),
        ("optim.lr=1e-3", "nothing is searched"),
    ],
)
def test_what_makes_no_sense_is_refused(typed: str, said: str, loader: ConfigLoader) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_space([typed], loader)


def test_faults_come_together(loader: ConfigLoader) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_space(["seed=1,2", "optim.lr=interval(2,1)", "student=layers_3"], loader)
    assert len(raised.value.faults) == 2


def test_the_rest_stays_as_typed_and_the_last_of_a_key_holds(loader: ConfigLoader) -> None:
    lines = ["optim.lr=interval(0,1)", "+trainer.x=1,2", "optim.lr=1e-3", "~callbacks.progress",
             "task.train_file='a b.csv'", "objective=hinton,dkd"]  # fmt: skip
    space = parse_space(lines, loader)
    assert space.fixed == ["optim.lr=0.001", "~callbacks.progress", "task.train_file='a b.csv'"]
    assert [axis.key for axis in space.axes] == ["objective", "+trainer.x"]


@pytest.mark.parametrize(
    ("distribution", "value", "typed"),
    [
        (Float(0, 8), 3.287193847, "3.287"),
        (Float(1e-5, 1e-3, log=True), 0.00004321987, "4.322e-05"),
        (Float(0, 1, step=0.1), 0.1 + 0.2, "0.3"),
        (Int(1, 1_000_000), 123_456, "123456"),
        (Choice(["[0,1]"]), "[0,1]", "[0,1]"),
    ],
)
def test_values_are_typed_so_that_people_can_read_them(
    distribution: optuna.distributions.BaseDistribution, value: object, typed: str
) -> None:
    assert Axis("a.b", distribution).typed(value) == typed
