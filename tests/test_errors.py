"""Sentences about errors."""

from __future__ import annotations

import pytest

from distill_lab.errors import ConfigError, closest, did_you_mean, first_line, go_online, noted
from distill_lab.errors import refuse as refuse_all


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(), "ValueError"),
        (OSError("  \n"), "OSError"),
        (ValueError("\nfirst\nsecond"), "first"),
        (KeyError("a"), "'a'"),
    ],
)
def test_an_error_that_says_nothing_has_the_name_of_its_type(error: Exception, said: str) -> None:
    assert first_line(error) == said


def test_all_faults_are_told_and_none_where_there_is_none() -> None:
    refuse_all({"a=1: too little": False})
    with pytest.raises(ConfigError) as refused:
        refuse_all({"a=1: too little": True, "b=2: right": False, "c=3: too much": True})
    assert refused.value.faults == ["a=1: too little", "c=3: too much"]

    faults = ["before"]
    for told in (["x", "y"], [], ["z"]):
        with noted(faults):
            if told:
                raise ConfigError(told)
    assert faults == ["before", "x", "y", "z"]


def test_what_others_call_a_key_is_known_only_where_the_key_is() -> None:
    assert closest("T", ["temperature", "lam"]) == "temperature"
    assert closest("alpha", ["alpha", "lam"]) == "alpha"
    assert closest("alpha", ["beta", "lam"]) == "lam"
    assert closest("epochs", ["min_epochs", "max_epochs"]) == "max_epochs"
    assert closest("T", ["rows"]) == did_you_mean("T", ["rows"]) == ""


def test_what_forbids_to_go_online_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert go_online() == "go online (HF_HUB_OFFLINE is set, which forbids it)"
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert go_online() == "go online"
