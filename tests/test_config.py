"""Every shipped yaml composes and is held against what it calls."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from distill_lab.config import GROUPS, Config, build, check, conf_dir, experiments_dir
from distill_lab.errors import ConfigError
from distill_lab.hydra_entry import compose
from distill_lab.signatures import locate
from distill_lab.train_help import choices, train_help

NEEDED = {
    "task/text_classification": ["task.train_file=rows.csv"],
    "task/text_regression": ["task.train_file=rows.csv"],
    "task/causal_lm": ["task.train=a.txt", "task.evaluation=b.txt"],
    "task/masked_lm": ["task.train=a.txt", "task.evaluation=b.txt"],
    "task/instruction": ["task.train=a.jsonl", "task.evaluation=b.jsonl"],
    "task/images": ["task.data_dir=pictures", "task.labels=[cat,dog]"],
    "task/domain": ["task.target_file=rows.csv"],
    "teacher/ensemble": ["teacher.models=[folder]"],
    "student/layers": ["student.num_layers=2"],
    "student/pretrained": ["student.model=folder"],
}
SHIPPED = [(group, name) for group in GROUPS for name in choices(conf_dir() / group)]
STUDIES = choices(experiments_dir())
GLUE = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]


@pytest.mark.parametrize(("group", "name"), SHIPPED)
def test_every_choice_composes_and_is_checked(group: str, name: str) -> None:
    config = compose(f"{group}={name}", *NEEDED.get(f"{group}/{name}", []))
    node = getattr(config, group)
    assert node
    if "_target_" in node:
        assert callable(locate(node["_target_"]))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_composes_and_is_checked(name: str) -> None:
    config = compose(f"experiments={name}")
    assert config.study.split("/")[0] == name


def test_the_nine_glue_tasks_are_there() -> None:
    assert [c for c in choices(conf_dir() / "task") if c.startswith("glue/")] == [
        f"glue/{name}" for name in GLUE
    ]


@pytest.mark.parametrize("file", sorted(conf_dir().rglob("*.yaml")), ids=lambda f: f.name)
def test_yaml_files_are_short(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= (60 if file.name == "train.yaml" else 30)


def test_nothing_of_omegaconf_goes_below() -> None:
    def look(value: Any) -> None:
        assert not isinstance(value, DictConfig | ListConfig)
        for child in value.values() if isinstance(value, dict) else ():
            look(child)

    look(asdict(compose()))


def test_unlisted_parameters_can_be_typed() -> None:
    config = compose("trainer.accumulate_grad_batches=2", "task.selection=0.2")
    assert config.trainer["accumulate_grad_batches"] == 2
    assert config.task["selection"] == 0.2


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        compose("objective.temprature=2", "trainer.max_step=3", "optim.lr=fast")
    assert len(raised.value.faults) == 3
    assert "trainer.max_step: not a parameter of pytorch_lightning.Trainer; did you mean" in str(
        raised.value
    )


def test_what_run_passes_cannot_be_given() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.default_root_dir"):
        compose("trainer.default_root_dir=/tmp")
    with pytest.raises(ConfigError, match=r"logger\.csv\.save_dir"):
        compose("logger.csv.save_dir=/tmp")


def test_a_missing_argument_is_named() -> None:
    config = compose()
    del config.objective["_target_"]
    del config.optim["lr"]
    with pytest.raises(ConfigError) as raised:
        check(config)
    assert "objective: has no _target_; choose one with objective=NAME" in raised.value.faults
    assert any(fault.startswith("optim.lr:") for fault in raised.value.faults)


def test_null_switches_a_callback_off() -> None:
    assert "progress" not in compose("callbacks.progress=null").callbacks


def test_recipe_reaches_optimizer_trainer_and_teacher() -> None:
    config = compose("task=glue/rte")
    assert config.trainer["max_epochs"] == config.teacher["epochs"] == 10
    assert config.optim["lr"] == config.recipe["lr"]
    assert config.teacher["model"] == "bert-base-uncased"


def test_objective_yaml_gives_the_defaults_of_its_class() -> None:
    for name in choices(conf_dir() / "objective"):
        node = dict(OmegaConf.load(conf_dir() / "objective" / f"{name}.yaml"))
        parameters = inspect.signature(locate(str(node.pop("_target_")))).parameters
        node.pop("defaults", None)
        required = {k for k, p in parameters.items() if p.default is inspect.Parameter.empty}
        own = {key: value for key, value in node.items() if key not in required}
        assert own == {key: parameters[key].default for key in own}, name


def test_help_names_every_choice() -> None:
    text = train_help()
    for group, name in SHIPPED:
        assert group in text and name in text


def test_root_schema_is_documented() -> None:
    assert set(GROUPS) < set(asdict(Config()))


class Broken:
    """What a user's own objective or callback may be."""

    def __init__(self) -> None:
        raise KeyError("a fault of its own")


def test_a_fault_of_what_is_built_keeps_its_kind_and_traceback() -> None:
    with pytest.raises(KeyError, match="a fault of its own") as told:
        build({"_target_": "tests.test_config.Broken"})
    assert [entry.name for entry in told.traceback][-1] == "__init__"
