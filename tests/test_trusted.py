"""What a configuration may name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distill_lab.errors import ConfigError
from distill_lab.hydra_entry import compose
from distill_lab.trusted import VARIABLE


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+callbacks.x={_target_: os.system, command: 'touch owned'}", "DISTILL_LAB_TRUST=os"),
        ("+callbacks.x={_target_: subprocess.Popen, args: [touch, owned]}", "TRUST=subprocess"),
        ("+callbacks.x={_target_: builtins.eval}", "TRUST=builtins"),
        ("+callbacks.x={_target_: hydra.utils.get_method, path: os.system}", "TRUST=hydra"),
        ("+callbacks.x={_target_: torch.hub.load, repo_or_dir: x, model: y}", "is no class"),
        ("+callbacks.x={_target_: distill_lab.results.result.subprocess.run}", "imported"),
        ("+callbacks.x={_target_: distill_lab.store.Path}", "something of pathlib"),
        ("+callbacks.progress.y={_target_: os.system}", "callbacks.progress.y._target_"),
        ("+callbacks.x=[{_target_: os.system}]", "callbacks.x[0]._target_"),
    ],
)
def test_others_are_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(override)
    assert told in str(error.value)


def test_a_module_is_not_imported_to_find_out(tmp_path: Path) -> None:
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    here.mkdir()
    elsewhere.mkdir()
    (elsewhere / "evil.py").write_text("open('owned', 'w')\nclass Evil:\n    pass\n")
    line = [sys.executable, "-m", "distill_lab", "train", "+callbacks.x={_target_: evil.Evil}",
            "launch.dry_run=true"]  # fmt: skip
    answer = subprocess.run(
        line, cwd=here, env={"PYTHONPATH": f"{elsewhere}:{Path(__file__).parents[1] / 'src'}",
                             "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert answer.returncode == 2 and "DISTILL_LAB_TRUST=evil" in answer.stderr, answer.stderr
    assert not (here / "owned").exists() and "Traceback" not in answer.stderr


def test_own_classes_and_named_packages_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "import pytorch_lightning as pl\nclass Own(pl.Callback):\n    pass\n"
    (tmp_path / "of_mine_here.py").write_text(text)
    assert compose("+callbacks.x={_target_: of_mine_here.Own}").callbacks["x"]
    package = tmp_path / "site-packages" / "of_others_there"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    with pytest.raises(ConfigError, match="DISTILL_LAB_TRUST=of_others_there"):
        compose("+callbacks.x={_target_: of_others_there.Own}")
    monkeypatch.setenv(VARIABLE, "x,of_others_there")
    assert compose("+callbacks.x={_target_: of_others_there.Own}").callbacks["x"]
