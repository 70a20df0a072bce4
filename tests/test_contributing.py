"""What CONTRIBUTING.md says of an objective of one's own is done, word for word."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import tiny

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language; the first line of a file names it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def test_an_objective_in_ones_own_folder_takes_one_py_and_one_yaml(
    tmp_path: Path, finetuned: Path, rows_file: Path
) -> None:
    files = [*blocks("python"), *blocks("yaml")]
    names = [block.splitlines()[0].removeprefix("# ") for block in files]
    assert names == ["mine.py", "conf_of_mine/objective/squared.yaml"]
    for name, content in zip(names, files, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    line = next(block for block in blocks("") if "--config-dir" in block)
    program, *typed = shlex.split(line)
    assert program == "distill-lab"
    settings = [s for s in tiny(finetuned, rows_file) if not s.startswith("objective")]
    answer = subprocess.run(
        [sys.executable, "-m", "distill_lab", *typed, *settings, "baseline=false"],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    result = json.loads(next(tmp_path.rglob("result.json")).read_text())
    assert result["choices"]["objective"] == "squared"
    curves = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[0]
    assert "train/squared" in curves
